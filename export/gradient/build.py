"""Gradient graphs: one for every set of outputs that a bundle offers."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx

from export.gradient import forward_outputs as forward
from export.gradient import norm_outputs as norms
from export.gradient.context import Build
from export.gradient.prepare import Prepared, prepare
from export.graph.names import LOGITS
from service.contract.bundle_schema import GraphName

NORMS = ("weight_square", "scaled_square", "bias_square", "other_square")
OUTPUTS: dict[GraphName, tuple[str, ...]] = {
    "forward": (LOGITS, "features"),
    "activation_norms": (LOGITS, "activation_square"),
    "weight_norms": (LOGITS, "activation_square", *NORMS, "features"),
    "batch_norms": (LOGITS, "activation_square", *NORMS, "batch_square", "features"),
    "input_gradient": (LOGITS, "input_gradient"),
    "activations": (LOGITS, "activation_mean", "activation_variance", "activation_zero_share", "channel_peak"),
    "feature_maps": (LOGITS, "map"),
}
FORWARD_ONLY: tuple[GraphName, ...] = ("forward", "activations", "feature_maps")

MAKERS: dict[str, Callable[[Build], list[str]]] = {
    LOGITS: lambda _: [LOGITS],
    "features": forward.features,
    "activation_square": norms.activation_square,
    "weight_square": norms.weight_square,
    "scaled_square": norms.scaled_square,
    "bias_square": norms.bias_square,
    "other_square": norms.other_square,
    "batch_square": norms.batch_square,
    "input_gradient": norms.input_gradient,
    "activation_mean": forward.activation_mean,
    "activation_variance": forward.activation_variance,
    "activation_zero_share": forward.activation_zero_share,
    "channel_peak": forward.channel_peak,
    "map": forward.maps,
}
"""Output → what emits it, and returns the names of its tensors."""


def differentiate(
    model: onnx.ModelProto | Prepared, outputs: Collection[str] | GraphName = "weight_norms"
) -> onnx.ModelProto:
    """The ONNX graph that computes `outputs`, as `service.contract.bundle_schema` defines them.

    `outputs` is the name of a bundle's graph or any collection of tensor names ("map" stands for
    all feature maps). Inputs are `input` and, unless only forward quantities are asked for,
    `label` and `cotangent_scale`. Standard operators only, static shapes but the batch.

    Raises InvalidModel, UnsupportedGraph, UnsupportedOperator; ValueError for an unknown output.
    """
    prepared = model if isinstance(model, Prepared) else prepare(model)
    wanted = OUTPUTS[outputs] if isinstance(outputs, str) else tuple(outputs)  # type: ignore[index]
    for output in wanted:
        if output not in MAKERS:
            raise ValueError(f"unknown output {output!r}; known: {', '.join(MAKERS)}")
    build = Build(prepared, wanted)
    tensors = [tensor for output in wanted for tensor in MAKERS[output](build)]
    return build.model(tensors, outputs if isinstance(outputs, str) else "gradients")
