"""The format of a bundle: the fields of bundle.json, and the inputs and outputs of its graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bench.reference.fields import described, names_below
from bench.reference.markdown import cell, code, table_of
from service.contract.bundle_schema import Bundle, GraphName
from service.contract.outputs import GRAPHS, OUTPUTS, Output

WHAT_FOR: Final[dict[GraphName, str]] = {
    "forward": "predictions",
    "activation_norms": "norms of the gradients at every layer's output",
    "weight_norms": "all norms of `/diagnostics/gradients`, and the scores",
    "batch_norms": "the same, and the norm of the mean gradient of a batch (`include=batch_gradient`)",
    "input_gradient": "the gradient at the image, and shattering",
    "activations": "statistics of every layer's output, and dead channels",
    "feature_maps": "the outputs of all layers, for `/diagnostics/features`",
    "explanation": "Grad-CAM at any layer, and the gradient of a logit at the image",
    "loss_slopes": "which layers changed the loss between two versions; `contraflow check --against` alone runs it",
}

WITHOUT_LABEL: Final = ("forward", "activations", "feature_maps")

MEANINGS: Final = {
    "logits": "the scores before softmax or sigmoid",
    "activation_square": "‖dL/dy‖² of each layer's output y",
    "weight_square": "‖dL/dW‖² of each layer's weight W",
    "scaled_square": "Σ ‖W_c‖²·‖dL/dW_c‖² over the output channels c of each layer",
    "bias_square": "‖dL/db‖² of each bias b, in the order of the layers whose `bias` is true",
    "other_square": "‖dL/dp‖² of each of `other_parameters`",
    "batch_square": "‖Σ dL/dW‖² over the samples; for one `cotangent_scale` that all of them share",
    "input_gradient": "dL/d`input`, in the layout of `input`",
    "activation_mean": "mean of each layer's output",
    "activation_variance": "variance of each layer's output",
    "activation_zero_share": "share, 0 to 1, of exact zeros behind the rectifier that follows; 0 without one",
    "channel_peak": "largest value of each channel of the rectifier that follows a layer, over all positions",
    "map": "one tensor `map/<layer>` for each layer: its output, after its rectifier if it has one",
    "layer_evidence": "Grad-CAM before its rectifier, row by row: Σ g_c·A_c at each position of the layer's "
    "`map_size`, where A is the layer's map and g_c the mean of dz/dA_c, z being the logit of `label`; empty where "
    "`layer` is −1",
    "logit_gradient": "dz/d`input`, flat; empty unless `layer` is −1",
    "features": "what the last linear layer reads; absent where `features` is null",
    "layer_slope": "⟨dL/dp, Δp⟩ per sample, summed over the parameters p of a layer",
    "other_slope": "the same of each of `other_parameters`",
    "rest_slope": "the same of parameters that belong to neither",
}

SHAPES: Final = {
    "map": "[N, channels, height, width]",
    "layer_evidence": "[N, height·width]",
    "logit_gradient": "[N, channels·height·width]",
}
"""Shapes that depend on the layer."""


def fields_of_bundle() -> str:
    """Return the tables of bundle.json: its own fields, then each object in it."""
    return "\n\n".join(_objects())


def graphs() -> str:
    """Return the table of the graphs: what each is for, and what it takes."""
    return table_of(("graph", "what it is for", "inputs"), ((code(one), WHAT_FOR[one], _inputs(one)) for one in GRAPHS))


def outputs() -> str:
    """Return the table of all outputs of the graphs."""
    return table_of(
        ("output", "shape", "graphs", "in the open protocol", "meaning"),
        (
            (
                code(one.name),
                _shape(one),
                ", ".join(map(code, one.graphs)) if one.graphs != GRAPHS else "all",
                code(one.offered_as) if one.offered_as else "",
                cell(MEANINGS[one.name]),
            )
            for one in OUTPUTS
        ),
    )


def _objects() -> Iterator[str]:
    schema: dict[str, Any] = Bundle.model_json_schema(ref_template="#/components/schemas/{model}")
    inner: dict[str, Any] = schema.pop("$defs")
    yield from described("Bundle", schema, 3, is_given=True)
    for name in dict.fromkeys([*names_below(schema), *names_below(inner)]):
        yield from described(name, inner[name], 3, is_given=True)


def _inputs(graph: GraphName) -> str:
    names = ["input"]
    if graph not in WITHOUT_LABEL:
        names += ["label", "cotangent_scale"]
    if graph == "explanation":
        names.append("layer")
    return ", ".join(map(code, names)) + (
        ", and a difference for each of `parameters`" if graph == "loss_slopes" else ""
    )


def _shape(output: Output) -> str:
    return SHAPES[output.name] if output.shape is None else f"[{', '.join(output.shape)}]".replace("image", "*image*")
