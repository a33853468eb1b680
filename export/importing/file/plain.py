"""A file's graph cut down to what its scores need, at our opset; anything but standard ONNX is refused."""

from __future__ import annotations

from onnx import ModelProto

from export.graph.edits import keep_only
from export.graph.errors import UnsupportedOperator
from export.graph.graph import STANDARD
from export.importing.file.ml_operators import with_standard_operators
from export.standard.fusions import in_their_own_domain, is_fusion
from export.standard.opset import at_our_opset, inlined, opset_of

OF_ONE_PROCESSOR = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of operators that read images and weights in blocks, as wide as the processor's registers."""


def standardize(model: ModelProto, output: str) -> ModelProto:
    """Return `model` cut down to what `output` needs, with its functions inlined, at our opset.

    Raises UnsupportedOperator for foreign domains, UnsupportedGraph for opsets out of range.
    """
    opset_of(model)  # refuses an unknown opset first, whatever else is wrong
    model = in_their_own_domain(keep_only(with_standard_operators(inlined(model)), output))
    _refuse_foreign(model)
    return keep_only(at_our_opset(model), output)


def _refuse_foreign(model: ModelProto) -> None:
    """Raise UnsupportedOperator for operators outside the standard domain."""
    for node in model.graph.node:
        if node.domain in OF_ONE_PROCESSOR:
            raise UnsupportedOperator(
                f"{node.domain}::{node.op_type}",
                node.name or node.output[0],
                "ONNX Runtime optimized the file for the processor of the machine that saved it",
                "import the file it was made from, or save it at optimization level 'extended' or lower",
            )
        if node.domain not in STANDARD and not is_fusion(node):
            raise UnsupportedOperator(
                f"{node.domain}::{node.op_type}",
                node.name or node.output[0],
                "the operator is not standard ONNX, so its derivative is not known",
                "export the model with standard operators, or name an earlier tensor with --output",
            )
