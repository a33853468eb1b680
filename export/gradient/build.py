"""Gradient graphs: one for every set of outputs that a bundle offers."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from export.gradient import forward_outputs, norm_outputs  # noqa: F401  (they fill the table of emissions)
from export.gradient.context import Build
from export.gradient.outputs import EMISSIONS
from export.gradient.prepare import Prepared, prepare
from service.contract.bundle_schema import GraphName
from service.contract.outputs import GRAPHS, outputs_of


def differentiate(
    model: onnx.ModelProto | Prepared, outputs: Collection[str] | GraphName = "weight_norms"
) -> onnx.ModelProto:
    """Return the ONNX graph that computes `outputs`, as `service.contract` defines them.

    `outputs` is the name of a bundle's graph or any collection of tensor names ("map" stands for
    all feature maps). Inputs are `input` and, unless only forward quantities are asked for,
    `label` and `cotangent_scale`. Standard operators only, static shapes but the batch.

    Raises InvalidModel, UnsupportedGraph, UnsupportedOperator; ValueError for an unknown output.
    """
    prepared = model if isinstance(model, Prepared) else prepare(model)
    wanted = _outputs_of(outputs) if isinstance(outputs, str) else tuple(outputs)
    for output in wanted:
        if output not in EMISSIONS:
            raise ValueError(f"unknown output {output!r}; known: {', '.join(EMISSIONS)}")
    build = Build(prepared, wanted)
    tensors = [tensor for output in wanted for tensor in EMISSIONS[output](build)]
    return build.model(tensors, outputs if isinstance(outputs, str) else "gradients")


def _outputs_of(name: str) -> tuple[str, ...]:
    graph = next((graph for graph in GRAPHS if graph == name), None)
    if graph is None:
        raise ValueError(f"unknown graph {name!r}; known: {', '.join(GRAPHS)}")
    return outputs_of(graph)
