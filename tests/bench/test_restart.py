"""The measurement of promise 4 with many bundles, with few."""

from __future__ import annotations

import pytest

from bench.promises.restart import measure


@pytest.mark.slow
def test_a_process_takes_over_under_load_and_no_request_fails() -> None:
    figures = list(measure(scale=0.01))
    assert [figure.kept for figure in figures if figure.kept is not None] == [True] * 3, figures
