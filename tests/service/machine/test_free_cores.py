"""Cores are not free where there are more threads than cores."""

from __future__ import annotations

import os

import pytest

from service.machine import free_cores


def test_more_threads_than_cores_do_not_have_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_cores, "WORK", bytes(2**26))  # it lasts longer than starting many threads
    assert not free_cores.cores_are_free(2 * len(os.sched_getaffinity(0)) + 1)
