"""Differences between what a bundle's graphs give and what torch gives, by quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from export.coverage.truth.matching import bias_of
from export.verification.autograd import Truth
from export.verification.parity import relative_difference
from service.contract.bundle_schema import Bundle

QUANTITIES = ("activation", "weight", "bias", "batch", "other", "input", "probabilities")


def of_parameters(
    bundle: Bundle, outputs: Mapping[str, np.ndarray], expected: Truth, names: Mapping[str, str]
) -> dict[str, float]:
    """Return the largest relative difference of norms by quantity; `names` maps ours to torch's."""
    found: dict[str, list[float]] = {}
    truths: dict[str, Mapping[str, Any]] = {"activation": expected.activation, "batch": expected.batch}
    for quantity, name, norms in _columns(bundle, outputs):
        known, theirs = truths.get(quantity, expected.gradient), names.get(name)
        if theirs is not None and theirs in known:
            difference = relative_difference(norms, np.asarray(known[theirs]), per_entry=True)
            found.setdefault(quantity, []).append(difference)
    return {quantity: max(values) for quantity, values in found.items()}


def _columns(bundle: Bundle, outputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield quantity, our name and norms of every column; those of the batch are of the summed loss."""
    samples = len(outputs["logits"])
    for column, layer in enumerate(bundle.layers):
        yield "weight", layer.name, outputs["weight_gradient_norm"][:, column]
        yield "activation", layer.name, outputs["activation_gradient_norm"][:, column]
        yield "batch", layer.name, outputs["batch_gradient_norm"][column] * samples
    for column, name in enumerate(layer.name for layer in bundle.layers if layer.bias):
        yield "bias", bias_of(name), outputs["bias_gradient_norm"][:, column]
    for column, entry in enumerate(bundle.other_parameters):
        yield "other", entry.name, outputs["other_gradient_norm"][:, column]


def of_ends(logits: np.ndarray, input_gradient: np.ndarray, expected: Truth) -> dict[str, float]:
    """Compare the input gradient, relative to each sample's whole, and the probabilities, absolutely."""
    return {
        "probabilities": float(np.abs(softmax(logits) - softmax(expected.logits)).max()),
        "input": relative_difference(input_gradient, expected.input_gradient, per_entry=False),
    }


def lost_by_torch(rounded: Truth, expected: Truth) -> dict[str, float]:
    """Return what torch's float32 differs from its float64 by, by quantity as above."""

    def largest(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
        differences = (
            relative_difference(np.asarray(mine[name]), np.asarray(norm), per_entry=True)
            for name, norm in theirs.items()
        )
        return max(differences, default=0.0)

    parameters = largest(rounded.gradient, expected.gradient)
    return {
        **dict.fromkeys(("weight", "bias", "other"), parameters),
        "activation": largest(rounded.activation, expected.activation),
        "batch": largest(rounded.batch, expected.batch),
        **of_ends(rounded.logits, rounded.input_gradient, expected),
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities [N, K] of logits [N, K]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(1, keepdims=True)
    return probabilities
