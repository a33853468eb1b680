"""A runtime whose device is the CPU, and whose code is that of a GPU."""

from __future__ import annotations

import pytest

from service.contract.runtime.opening import Runtime


@pytest.fixture
def bound() -> Runtime:
    return Runtime("cpu", bound=True)
