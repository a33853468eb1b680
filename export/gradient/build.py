"""Gradient graphs: one for every set of outputs that a bundle offers."""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import numpy_helper

import export.gradient.emissions.explanation
import export.gradient.emissions.forward
import export.gradient.emissions.norms
import export.gradient.emissions.slopes  # noqa: F401  (these four fill the table of emissions)
from export.gradient.affine import with_affine_norms
from export.gradient.context import Build
from export.gradient.emissions.table import EMISSIONS
from export.gradient.prepare import Prepared, prepare
from export.graph.graph import Stored
from service.contract.bundle_schema import GraphName
from service.contract.outputs import GRAPHS, outputs_of

FIRST_TO_RUN = "weight_square"
"""The output that is emitted last. ONNX Runtime begins with the last one, and works through what it needs depth first,
from the logits back. So each dW is formed as soon as its cotangent is known, while that is in the cache."""


def differentiate(
    model: onnx.ModelProto | Prepared,
    outputs: Collection[str] | GraphName = "weight_norms",
    *,
    stored: Stored = numpy_helper.from_array,
) -> onnx.ModelProto:
    """Return the ONNX graph that computes `outputs` for a classifier from images to logits.

    Args:
        model: an ONNX model with one input, images float32 [N, channels, height, width] or [N, height, width,
            channels] with N free or not, and one output, logits [N, K] (a Softmax at the end is taken off); names
            are free.
        outputs: the name of a bundle's graph, "weight_norms" above all, or any collection of the outputs that
            `service.contract.outputs` lists with their shapes ("map" stands for all feature maps).
        stored: makes the tensor of a constant; a `WeightFile` keeps the large ones of several graphs once.

    Returns:
        A model of standard operators, whose shapes are static but for N. Its inputs are

            input             float32, as the classifier's
            label             int64 [N]     the class of each sample's loss; −1 for the predicted one
            cotangent_scale   float32 [N]   what dL/dlogits is multiplied by: 1, unless gradients leave float32's range
            layer             int64 [1]     what is explained: an index into the layers, −1 for the image

        label and scale only where an output needs the backward pass, and layer only in the graph "explanation", where
        the label is the class whose logit is explained. The outputs of "weight_norms" are `logits` [N, K],
        `activation_square`, `weight_square` and `scaled_square` [N, L] for the L layers in forward order
        (`prepare(model).layers`), `bias_square` [N, B] for those with a bias, and `other_square` [N, P] for other
        trained constants: squared L2 norms of each sample's own gradient; and `features` [N, D], what the last
        linear layer reads.

    Raises:
        InvalidModel, UnsupportedGraph, UnsupportedOperator: the model is broken, or cannot be differentiated.
        ValueError: an output is unknown, or outputs of a logit and of the loss are asked for together.
    """
    prepared = model if isinstance(model, Prepared) else prepare(model)
    wanted = _outputs_of(outputs) if isinstance(outputs, str) else tuple(outputs)
    for output in wanted:
        if output not in EMISSIONS:
            raise ValueError(f"unknown output {output!r}; known: {', '.join(EMISSIONS)}")
    build = Build(with_affine_norms(prepared) if SLOPES.intersection(wanted) else prepared, wanted)
    emitted = {output: EMISSIONS[output](build) for output in sorted(wanted, key=FIRST_TO_RUN.__eq__)}
    tensors = [tensor for output in wanted for tensor in emitted[output]]
    return build.model(tensors, outputs if isinstance(outputs, str) else "gradients", stored)


SLOPES = frozenset(outputs_of("loss_slopes")) - {"logits"}


def _outputs_of(name: str) -> tuple[str, ...]:
    graph = next((graph for graph in GRAPHS if graph == name), None)
    if graph is None:
        raise ValueError(f"unknown graph {name!r}; known: {', '.join(GRAPHS)}")
    return outputs_of(graph)
