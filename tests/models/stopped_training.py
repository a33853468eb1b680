"""A training run that is stopped before a chosen step, as by a signal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from models.training.train import Training


class _Stopped(Exception):
    pass


@contextmanager
def stopped_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let runs within the block take `steps` steps, after each of which a checkpoint is due, and end the block then."""
    left, step = steps, Training._train_step

    def stops(self: Training, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise _Stopped
        left -= 1
        step(self, *arguments)

    monkeypatch.setattr("models.training.train.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(Training, "_train_step", stops)
    with pytest.raises(_Stopped):
        yield
    monkeypatch.setattr(Training, "_train_step", step)
