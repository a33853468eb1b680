"""The first passes over any model: functions written out, nodes sorted, names and constants apart, training left."""

from __future__ import annotations

from onnx import ModelProto

from export.graph.names import distinct_names
from export.standard.inference import in_inference
from export.standard.opset import inlined
from export.standard.order import in_order
from export.standard.stored import with_constants_outside


def cleaned(model: ModelProto, *, contract: bool = True) -> tuple[ModelProto, tuple[str, ...]]:
    """Return `model` at its own opset with the passes above done, and notes.

    With `contract` false it keeps names that our graphs give to inputs and outputs (see `distinct_names`).
    Raises InvalidModel, UnsupportedGraph or UnsupportedOperator as the passes do.
    """
    return in_inference(with_constants_outside(distinct_names(in_order(inlined(model)), contract)))
