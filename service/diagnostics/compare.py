"""Compares the gradients of several models on the same images, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from service.diagnostics.schemas.base import predicted_names
from service.diagnostics.schemas.gradients import (
    ComparedModel,
    LayerDifference,
)
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
        by_name = {layer.name: layer for layer in other.layers}
        for layer in first.layers:
            twin = by_name.get(layer.name)
            matched = twin is not None and twin.shape == layer.shape
            partner = twin if twin is not None and matched else _at_relative_depth(layer, first.layers, other.layers)
            decades = _decades(layer, partner)
            found.append(
                LayerDifference(
                    model=f"{first.model}@{first.version}",
                    other=f"{other.model}@{other.version}",
                    layer=layer.name,
                    other_layer=partner.name,
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
