"""The change of loss from OLD to NEW, divided among the layers by the gradient along the line between their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from service.bundles.disk import StoredBundle
from service.contract.arrays import Array, Float64
from service.contract.label_kinds import LabelKind, Labels, kind_called
from service.contract.runtime.opening import Runtime
from service.diagnostics.loss_change.architecture import why_not_one
from service.diagnostics.loss_change.result import Kind, LossChange, NotDivided, PartChange
from service.diagnostics.loss_change.weights import Line

Batches = Callable[[], Iterable[tuple[Array, Labels]]]
"""Gives the same images again whenever it is called, in the same order and batches: the tensor `input`, float32
[n, …] as `images.preprocess.normalise` returns it, and labels by the bundle's label kind, int64 [n] or [n, K]; those
not known are −1, and OLD's own prediction then stands for them all along the path."""

FEWEST_STEPS: Final = 2
MOST_STEPS: Final = 16
"""Points of the path at which gradients are measured: few first, then twice as many, and so on."""

ALLOWED_ERROR: Final = 0.01
"""Share of the measured change by which the parts may miss it together."""

ROUNDING: Final = 2e-6
"""Nats by which they may miss it in any case: two graphs in float32 agree no better on the mean loss of a network."""


def loss_change(
    old: StoredBundle, new: StoredBundle, runtime: Runtime, batches: Batches, most_steps: int = MOST_STEPS
) -> LossChange | NotDivided:
    """Divide the change of the mean loss of images from OLD to NEW among the layers of their common architecture.

    A layer's part is ∫⟨dL/dW(α), NEW − OLD⟩ dα on the straight line W(α) = (1 − α)·OLD + α·NEW, by Gauss–Legendre
    steps, which are doubled until all parts add up to the measured change. Where a normalization was folded into a
    layer, the line is between the two folded layers. One session is open at a time, and the images are asked for again
    for every step, so memory does not grow with their number.

    Args:
        batches: gives the images and their labels, at least one image.
        most_steps: points of the path after which the result stands, complete or not.

    Raises:
        BundleRefused: a file of one of the two was changed since it was read.
        Exception: whatever the runtime raises for a graph that it cannot open or run, and `batches` for its images.
    """
    if reason := why_not_one(old.bundle, new.bundle):
        return NotDivided(reason)
    measuring = _Measuring(old, new, runtime, batches)
    ends = measuring.ends()
    if not np.isfinite(ends.losses).all():
        return NotDivided("the loss is not finite for some of the images")
    before, after = ends.losses.mean(axis=1).tolist()
    allowed = max(ALLOWED_ERROR * abs(after - before), ROUNDING)
    steps = min(FEWEST_STEPS, most_steps)
    while True:
        changes = measuring.integral(steps, ends.labels)
        if not np.isfinite(changes).all():
            return NotDivided("a gradient on the line between the two is not finite")
        found = LossChange(ends.losses.shape[1], before, after, measuring.parts(changes), steps, allowed)
        if found.complete or 2 * steps > most_steps:
            return found
        steps *= 2


@dataclass(frozen=True)
class _Ends:
    """Losses of OLD and NEW, [2, images], and the settled labels of every batch."""

    losses: Float64
    labels: Sequence[Labels]


class _Measuring:
    def __init__(self, old: StoredBundle, new: StoredBundle, runtime: Runtime, batches: Batches) -> None:
        self._old, self._new, self._runtime, self._batches = old, new, runtime, batches
        self._kind: LabelKind = kind_called(new.bundle.label_kind)
        self._line = Line(old, new)

    def ends(self) -> _Ends:
        """Measure the loss of both versions."""
        labels: list[Labels] = []
        losses = []
        for stored, alpha in ((self._old, 0.0), (self._new, 1.0)):
            run = self._forward(stored, alpha)
            own = []
            for number, (images, given) in enumerate(self._batches()):
                logits = run(images)
                if stored is self._old:
                    labels.append(self._kind.settled(logits, given))
                own.append(self._kind.losses(logits, labels[number]))
            losses.append(np.concatenate(own))
        return _Ends(np.stack(losses), labels)

    def _forward(self, stored: StoredBundle, alpha: float) -> Callable[[Array], Array]:
        """Return what gives the logits of images.

        The forward graph of a file of integers is another network than that of all other graphs.
        """
        quantized = stored.bundle.quantized
        if quantized is not None and quantized.has_two_networks:
            slopes = self._runtime.open(self._file, self._line.at(alpha))
            return lambda images: slopes.run(_feeds(images, self._labels_of_none(len(images))))["logits"]
        forward = self._runtime.open(stored.directory / stored.bundle.graphs["forward"].file)
        return lambda images: forward.run({"input": images})["logits"]

    def integral(self, steps: int, labels: Sequence[Labels]) -> Float64:
        """Return every part's change of the mean loss, as that many points of the path give it."""
        points, weights = np.polynomial.legendre.leggauss(steps)
        slopes = np.stack([self._slopes(0.5 * (1.0 + point), labels) for point in points.tolist()])
        changes: Float64 = 0.5 * weights @ slopes
        return changes

    def _slopes(self, alpha: float, labels: Sequence[Labels]) -> Float64:
        """Return dL/dα of the mean loss at one point of the path, by part."""
        weights = self._line.at(alpha)
        session = self._runtime.open(self._file, weights)
        total: Float64 | None = None
        count = 0
        for (images, _), settled in zip(self._batches(), labels, strict=True):
            found = session.run(_feeds(images, settled))
            slopes = np.column_stack([found["layer_slope"], found["other_slope"], found["rest_slope"]])
            batch = slopes.sum(axis=0, dtype=np.float64)
            total = batch if total is None else total + batch
            count += len(images)
        assert total is not None, "there are no images"
        return total / count

    def parts(self, changes: Float64) -> tuple[PartChange, ...]:
        """Name the parts; what `bundle.json` does not list is left out where there is nothing of the kind."""
        bundle, squares = self._new.bundle, self._line.squares()
        names: list[tuple[Kind, str, str]] = [
            *(("layer", layer.name, layer.name) for layer in bundle.layers),
            *(("other", other.name, other.name) for other in bundle.other_parameters),
            ("rest", "the rest", ""),
        ]
        return tuple(
            PartChange(name, kind, float(change), _relative(*squares.get(part, (0.0, 0.0))))
            for (kind, name, part), change in zip(names, changes, strict=True)
            if part in squares or kind != "rest"
        )

    @property
    def _file(self) -> Path:
        return self._new.directory / self._new.bundle.graphs["loss_slopes"].file

    def _labels_of_none(self, samples: int) -> Labels:
        return self._kind.none_given(samples, len(self._new.bundle.labels))


def _feeds(images: Array, labels: Labels) -> dict[str, Array]:
    return {"input": images, "label": labels, "cotangent_scale": np.ones(len(images), np.float32)}


def _relative(moved: float, was: float) -> float:
    if not moved:
        return 0.0
    return float(np.sqrt(moved / was)) if was else float("inf")
