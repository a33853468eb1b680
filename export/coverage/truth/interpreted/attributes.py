"""Every function of this folder takes a node, its attributes, and its inputs as torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx import NodeProto
from torch import Tensor

Attributes = dict[str, Any]
Function = Callable[..., "Tensor | tuple[Tensor, ...]"]
"""Takes the node, its attributes and its inputs, of which optional ones may be None."""


def plain(function: Callable[..., Tensor]) -> Function:
    """Adapt a function that needs no attributes."""
    return lambda node, given, *operands: function(*operands)


def unknown(what: str, node: NodeProto) -> NotImplementedError:
    """Return the error that says what of a node is not known here."""
    return NotImplementedError(f"{node.op_type} with {what} (node {node.name!r})")
