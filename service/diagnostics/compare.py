"""Compares the gradients of several models on the same images, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from service.contract.arrays import Float64
from service.diagnostics.schemas.base import predicted_names
from service.diagnostics.schemas.gradients import (
    ComparedModel,
    LayerDifference,
)
from service.diagnostics.words import factor, plural, power

MOVED: Final = 0.3
"""Decades from which a layer has moved: about a factor of two."""


class WeightedLayer(Protocol):
    """A layer, as a bundle or an answer describes it."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def depth(self) -> int: ...


@dataclass(frozen=True)
class RelativeNorms:
    """The relative gradient norms of one model ("name@version") on N images, [N, L]."""

    model: str
    layers: Sequence[WeightedLayer]
    relative: Float64


def differences(models: Sequence[ComparedModel], moved: float = MOVED) -> list[LayerDifference]:
    """Compare every later model with the first, layer by layer of the first."""
    first, *others = [
        RelativeNorms(
            f"{model.model}@{model.version}",
            model.layers,
            np.array([layer.relative_gradient_norm for layer in model.layers], np.float64).T,
        )
        for model in models
    ]
    return [difference for other in others for difference in layer_differences(first, other, moved)]


def layer_differences(first: RelativeNorms, other: RelativeNorms, moved: float = MOVED) -> list[LayerDifference]:
    """Compare two models on the same images, layer by layer of the first."""
    by_name = {layer.name: column for column, layer in enumerate(other.layers)}
    found = []
    for column, layer in enumerate(first.layers):
        partner = by_name.get(layer.name)
        matched = partner is not None and tuple(other.layers[partner].shape) == tuple(layer.shape)
        if partner is None or not matched:
            partner = _at_relative_depth(layer, first.layers, other.layers)
        decades = _decades(first.relative[:, column], other.relative[:, partner])
        found.append(
            LayerDifference(
                model=first.model,
                other=other.model,
                layer=layer.name,
                other_layer=other.layers[partner].name,
                matched_by="name" if matched else "depth",
                decades=decades,
                moved=not abs(decades) < moved,  # NaN has moved too
            )
        )
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
    farthest = max(moved, key=lambda one: abs(one.decades) if np.isfinite(one.decades) else np.inf)
    return (
        f"{len(moved)} of {plural(len(found), 'layer')} differ by a factor of two or more, the most "
        f"{farthest.layer}, whose relative gradient is {_change(farthest.decades)}"
    )


def _change(decades: float) -> str:
    """Return a change in words: `3.2 times larger`."""
    if np.isnan(decades):
        return "0 or not finite in one of the two"
    return f"{factor(power(abs(decades)))} times {'larger' if decades > 0 else 'smaller'}"


def _at_relative_depth(layer: WeightedLayer, own: Sequence[WeightedLayer], others: Sequence[WeightedLayer]) -> int:
    """Return which of `others` is about as deep in its network as `layer` is in its own."""
    deepest, deepest_other = max(one.depth for one in own), max(one.depth for one in others)
    return min(range(len(others)), key=lambda column: abs(others[column].depth / deepest_other - layer.depth / deepest))


def _decades(layer: Float64, other: Float64) -> float:
    """Return the median over samples of log10(other / layer) of the relative norms; NaN if no sample has both."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log10(other / layer)
    known = ratios[~np.isnan(ratios)]
    return float(np.median(known)) if known.size else float("nan")
