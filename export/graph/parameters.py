"""Trained tensors of a stored graph that other numbers may be put in place of."""

from __future__ import annotations

from typing import Final

from onnx import TensorProto

from export.graph.names import OWN

PART: Final = "contraflow.part"
"""Key of the note on such a tensor; its value is the name of the layer or other parameter that it belongs to."""

DIFFERENCE: Final = f"{OWN}difference"
"""Ends the name of the tensor that holds what is added to a trained one."""


def part_of(tensor: TensorProto) -> str | None:
    """Return the name of the part of the network that a trained tensor belongs to, "" if of none; None for others."""
    return next((entry.value for entry in tensor.metadata_props if entry.key == PART), None)
