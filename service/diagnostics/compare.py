"""Compares the gradients of several models on the same images, layer by layer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final, Literal, Protocol

import numpy as np

from service.diagnostics.schemas.base import predicted_names
from service.diagnostics.schemas.gradients import (
    ComparedModel,
    LayerDifference,
    SampleLoss,
)
from service.diagnostics.schemas.versions import FlipsFound
from service.diagnostics.versions.flips import Flips
from service.diagnostics.words import factor, plural, power

MOVED: Final = 0.3
"""Decades from which a layer has moved: about a factor of two."""


class LayerNorms(Protocol):
    """What is compared of a layer: an answer's, or what is known of live images."""

    @property
    def name(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def relative_gradient_norm(self) -> Sequence[float]: ...


class ModelNorms(Protocol):
    """The layers of one model; every model has the same samples."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def layers(self) -> Sequence[LayerNorms]: ...


def differences(models: Sequence[ModelNorms], moved: float = MOVED) -> list[LayerDifference]:
    """Compare every later model with the first, layer by layer of the first."""
    first, found = models[0], []
    for other in models[1:]:
        for layer, (partner, how) in zip(first.layers, _partners(first.layers, other.layers), strict=True):
            decades = _decades(layer, partner)
            found.append(
                LayerDifference(
                    model=f"{first.model}@{first.version}",
                    other=f"{other.model}@{other.version}",
                    layer=layer.name,
                    other_layer=partner.name,
                    matched_by=how,
                    decades=decades,
                    moved=not abs(decades) < moved,  # NaN has moved too
                )
            )
    return found


def flips(models: Sequence[ComparedModel], given: Sequence[bool]) -> list[FlipsFound | None]:
    """Count right and wrong answers of the first model and of every later one, on the images with a label.

    None where no image has one, and where labels are independent: those that are not given are then as predicted.

    Args:
        given: for which samples a label was given.
    """
    right = [
        [isinstance(one, SampleLoss) and one.label == one.predicted_label for one in model.samples] for model in models
    ]
    rows = [row for row, has_label in enumerate(given) if has_label and isinstance(models[0].samples[row], SampleLoss)]
    found = []
    for other in right[1:]:
        counted = Flips()
        for row in rows:
            counted.take(right_before=right[0][row], right_now=other[row])
        found.append(counted.found())
    return found


def predictions_differ(models: Sequence[ComparedModel]) -> list[int]:
    """Return the samples for which the models do not all predict the same."""
    predicted = [[frozenset(predicted_names(sample)) for sample in model.samples] for model in models]
    return [row for row, labels in enumerate(zip(*predicted, strict=True)) if len(set(labels)) > 1]


def because(models: Sequence[ComparedModel], found: Sequence[LayerDifference]) -> str:
    """Return the comparison in one sentence."""
    states = ", ".join(f"{model.model}@{model.version} is {model.verdict.state}" for model in models)
    return f"{states}; {moved_in_words(found)}."


def moved_in_words(found: Sequence[LayerDifference]) -> str:
    """Return how many layers moved, and which the most, without a full stop."""
    moved = [difference for difference in found if difference.moved]
    if not moved:
        return "no layer's gradient differs by a factor of two or more"
    most = farthest(moved)
    return (
        f"{len(moved)} of {plural(len(found), 'layer')} differ by a factor of two or more, the most "
        f"{most.layer}, whose relative gradient is {change_in_words(most.decades)}"
    )


def farthest(moved: Sequence[LayerDifference]) -> LayerDifference:
    """Return the layer that differs most; a gradient that is 0 or not finite in one of the two is farther than all."""
    return max(moved, key=lambda one: abs(one.decades) if np.isfinite(one.decades) else np.inf)


def change_in_words(decades: float) -> str:
    """Return a change in words: `3.2 times larger`."""
    if np.isnan(decades):
        return "0 or not finite in one of the two"
    return f"{factor(power(abs(decades)))} times {'larger' if decades > 0 else 'smaller'}"


Matched = tuple[LayerNorms, Literal["name", "place", "depth"]]


def _partners(own: Sequence[LayerNorms], others: Sequence[LayerNorms]) -> list[Matched]:
    """Return the layer of `others` that each of one's own corresponds to, and by what.

    Where both networks have layers of the same shapes at the same depths, a layer of the same name must also be at the
    same place, and layers of other names correspond in their order: exporters name the same layers differently.
    """
    by_name = {layer.name: layer for layer in others}
    if Counter(map(_place, own)) != Counter(map(_place, others)):
        twins = [by_name.get(layer.name) for layer in own]
        return [
            (twin, "name")
            if twin is not None and twin.shape == layer.shape
            else (_at_relative_depth(layer, own, others), "depth")
            for layer, twin in zip(own, twins, strict=True)
        ]
    named = {layer.name for layer in own if layer.name in by_name and _place(by_name[layer.name]) == _place(layer)}
    waiting = defaultdict(list)
    for other in reversed(others):
        if other.name not in named:
            waiting[_place(other)].append(other)
    return [
        (by_name[layer.name], "name") if layer.name in named else (waiting[_place(layer)].pop(), "place")
        for layer in own
    ]


def _place(layer: LayerNorms) -> tuple[int, tuple[int, ...]]:
    """Return depth and shape, of which the order of the axes says nothing: a Gemm may be written as a MatMul."""
    return layer.depth, tuple(sorted(layer.shape))


def _at_relative_depth(layer: LayerNorms, own: Sequence[LayerNorms], others: Sequence[LayerNorms]) -> LayerNorms:
    """Return the layer of `others` that is about as deep in its network as `layer` is in its own."""
    deepest, deepest_other = max(one.depth for one in own), max(one.depth for one in others)
    return min(others, key=lambda other: abs(other.depth / deepest_other - layer.depth / deepest))


def _decades(layer: LayerNorms, other: LayerNorms) -> float:
    """Return the median over samples of log10(other / layer) of the relative norms; NaN if no sample has both."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log10(np.array(other.relative_gradient_norm) / np.array(layer.relative_gradient_norm))
    known = ratios[~np.isnan(ratios)]
    return float(np.median(known)) if known.size else float("nan")
