"""A file's graph cut down to what its scores need, at our opset; anything but standard ONNX is refused."""

from __future__ import annotations

from onnx import ModelProto

from export.graph.edits import keep_only
from export.graph.errors import UnsupportedOperator
from export.graph.graph import STANDARD
from export.standard.opset import at_our_opset, inlined, opset_of


def standardize(model: ModelProto, output: str) -> ModelProto:
    """Return `model` cut down to what `output` needs, with its functions inlined, at our opset.

    Raises UnsupportedOperator for foreign domains, UnsupportedGraph for opsets out of range.
    """
    opset_of(model)  # refuses an unknown opset first, whatever else is wrong
    model = keep_only(inlined(model), output)
    _refuse_foreign(model)
    return keep_only(at_our_opset(model), output)


def _refuse_foreign(model: ModelProto) -> None:
    """Raise UnsupportedOperator for operators outside the standard domain."""
    for node in model.graph.node:
        if node.domain not in STANDARD:
            raise UnsupportedOperator(
                f"{node.domain}::{node.op_type}",
                node.name or node.output[0],
                "the operator is not standard ONNX, so its derivative is not known",
                "export the model with standard operators, or name an earlier tensor with --output",
            )
