"""Attributes of a proto's node as Python values: text as str, lists as lists."""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, helper


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Return the attributes that a node states, by name."""
    return {entry.name: _value(helper.get_attribute_value(entry)) for entry in node.attribute}


def attribute_of(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return one attribute of a node, or `default` where the node does not state it."""
    return next((_value(helper.get_attribute_value(entry)) for entry in node.attribute if entry.name == name), default)


def _value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_value(entry) for entry in value] if not isinstance(value, str) and hasattr(value, "__iter__") else value
