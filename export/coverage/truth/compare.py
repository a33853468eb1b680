"""Differences between what a bundle's graphs give and what torch gives, by quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from export.coverage.truth.matching import bias_of, weight_of
from export.verification.autograd import Truth
from export.verification.parity import relative_difference
from service.contract.bundle_schema import Bundle
from service.contract.loss import probabilities

VANISHING = 1e-12
"""Part of the sample's largest norm below which torch's float64 means zero."""


def of_parameters(
    bundle: Bundle, outputs: Mapping[str, np.ndarray], expected: Truth, names: Mapping[str, str]
) -> dict[str, float]:
    """Return the largest relative difference of norms by quantity; `names` maps ours to torch's."""
    found: dict[str, list[float]] = {}
    truths: dict[str, Mapping[str, Any]] = {"activation": expected.activation, "batch": expected.batch}
    for quantity, name, norms in _columns(bundle, outputs):
        known, theirs = truths.get(quantity, expected.gradient), names.get(name)
        if theirs is not None and theirs in known:
            found.setdefault(quantity, []).append(difference(norms, known[theirs], _largest(expected)))
    return {quantity: max(values) for quantity, values in found.items()}


def difference(norms: np.ndarray, expected: np.ndarray | float, largest: np.ndarray) -> float:
    """Return the largest relative difference of norms, [n] or of the whole batch.

    A norm that torch's float64 rounds to nothing beside the sample's largest is zero by mathematics, as that of the
    bias of attention's keys is. Of such a norm the part is returned that it is of the largest.

    Args:
        largest: [n], each sample's largest norm of a parameter's gradient.
    """
    known = np.broadcast_to(np.asarray(expected, dtype=np.float64), np.shape(norms))
    scale = largest if known.ndim else largest.max()
    vanishing = known < VANISHING * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(vanishing, norms / scale, 0.0)
    ordinary = relative_difference(np.where(vanishing, 1.0, norms), np.where(vanishing, 1.0, known), per_entry=True)
    return max(ordinary, float(np.nan_to_num(parts, nan=1.0 if np.isnan(norms).any() else 0.0).max(initial=0.0)))


def _largest(expected: Truth) -> np.ndarray:
    norms: np.ndarray = np.max(list(expected.gradient.values()), axis=0)
    return norms


def _columns(bundle: Bundle, outputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield quantity, our name and norms of every column; those of the batch are of the summed loss."""
    samples = len(outputs["logits"])
    for column, layer in enumerate(bundle.layers):
        yield "weight", weight_of(layer.name), outputs["weight_gradient_norm"][:, column]
        yield "activation", weight_of(layer.name), outputs["activation_gradient_norm"][:, column]
        yield "batch", weight_of(layer.name), outputs["batch_gradient_norm"][column] * samples
    for column, name in enumerate(layer.name for layer in bundle.layers if layer.bias):
        yield "bias", bias_of(name), outputs["bias_gradient_norm"][:, column]
    for column, entry in enumerate(bundle.other_parameters):
        yield "other", entry.name, outputs["other_gradient_norm"][:, column]


def of_ends(logits: np.ndarray, input_gradient: np.ndarray, expected: Truth) -> dict[str, float]:
    """Compare the input gradient, relative to each sample's whole, and the probabilities, absolutely."""
    return {
        "probabilities": float(np.abs(probabilities(logits) - probabilities(expected.logits)).max()),
        "input": relative_difference(input_gradient, expected.input_gradient, per_entry=False),
    }


def lost_by_torch(rounded: Truth, expected: Truth) -> dict[str, float]:
    """Return what torch's float32 differs from its float64 by, by quantity as above."""

    def largest(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
        differences = (difference(np.asarray(mine[name]), norm, _largest(expected)) for name, norm in theirs.items())
        return max(differences, default=0.0)

    parameters = largest(rounded.gradient, expected.gradient)
    return {
        **dict.fromkeys(("weight", "bias", "other"), parameters),
        "activation": largest(rounded.activation, expected.activation),
        "batch": largest(rounded.batch, expected.batch),
        **of_ends(rounded.logits, rounded.input_gradient, expected),
    }
