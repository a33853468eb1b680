"""Translation of operators that round, read or move 8-bit integers; `RULES` is the table of all rules.

operator                        the float network has
QuantizeLinear                  a Clip to what the integers can hold, or nothing
DequantizeLinear                nothing
MaxPool, Reshape, …             the same operator on the floats
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from export.graph.attributes import attribute_of
from export.graph.names import OWN
from export.importing.types import integer_rules, linear_rules
from export.importing.types.integers import UNIT
from export.importing.types.translation import Rule, Translation

MOVING = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool", "Reshape",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
FLOAT_TYPES = {TensorProto.FLOAT}


def quantize_linear(net: Translation, node: NodeProto) -> None:
    """Pass an activation through; a constant is rounded as the file rounds it."""
    if node.input[0] in net.values:
        net.evaluate(node)
        return
    kind = attribute_of(node, "output_dtype", TensorProto.UINT8) or TensorProto.UINT8
    stated = net.stated(node, 1, 2, attribute_of(node, "axis", 1), helper.tensor_dtype_to_np_dtype(kind))
    if not np.issubdtype(stated.nought.dtype, np.integer):
        raise net.refusal(node, f"it rounds to {stated.nought.dtype}, and only integers are known here")
    net.rounded(node.input[0], node.output[0], stated)


def dequantize_linear(net: Translation, node: NodeProto) -> None:
    """Take the floats that integers stand for; those of a constant become a stored weight under its plain name."""
    name, output = node.input[0], node.output[0]
    if name in net.values:
        net.dequantizes = True
        net.evaluate(node)
        net.call_weight(output)
        return
    stated = net.stated(node, 1, 2, attribute_of(node, "axis", 1), np.int32)
    net.call(net.floats(node, 0, stated), output)


def moving(net: Translation, node: NodeProto) -> None:
    """Move floats as the file moves the integers that stand for them."""
    if node.input[0] not in net.integers:
        net.keep(node)
        return
    found = net.standing_for(node, 0)
    if not found.is_one_for_all:
        raise net.refusal(node, "it moves integers that have another step for every channel")
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0] = f"{node.input[0]}{OWN}float"
    for index, output in enumerate(node.output):
        if output and not (node.op_type == "MaxPool" and index == 1):
            net.integers[output] = found
            copy.output[index] = net.own(output, "float")
    net.append(copy)


def measuring(net: Translation, node: NodeProto) -> None:
    """Measure the floats instead of the integers that stand for them."""
    copy = NodeProto()
    copy.CopyFrom(node)
    if node.input[0] in net.integers:
        copy.input[0] = f"{node.input[0]}{OWN}float"
    net.append(copy)


def concat(net: Translation, node: NodeProto) -> None:
    """Put floats side by side whose integers all have the same step and nought."""
    if not any(name in net.integers for name in node.input):
        net.keep(node)
        return
    first = next(net.integers[name] for name in node.input if name in net.integers)
    floats = [net.floats(node, index, first) for index in range(len(node.input))]
    net.integers[node.output[0]] = first
    net.emit("Concat", floats, net.own(node.output[0], "float"), axis=attribute_of(node, "axis", 0))


def pad(net: Translation, node: NodeProto) -> None:
    """Pad floats with the number that the padding integer stands for."""
    if node.input[0] not in net.integers:
        net.keep(node)
        return
    found = net.standing_for(node, 0)
    value = found.floats(net.value(node, 2, np.zeros((), np.int32)).reshape(()))
    filled = net.constant(value, net.own(node.output[0], "padding"))
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend([f"{node.input[0]}{OWN}float", node.input[1], filled, *node.input[3:]])
    copy.output[0] = net.own(node.output[0], "float")
    net.integers[node.output[0]] = found
    net.append(copy)


def cast(net: Translation, node: NodeProto) -> None:
    """Turn integers into floats, or into other integers, without a change of value."""
    name, output = node.input[0], node.output[0]
    if name not in net.integers:
        net.keep(node)
        return
    if attribute_of(node, "to", 0) in FLOAT_TYPES:
        net.unlike.add(output)
        net.call(net.floats(node, 0, UNIT), output)
        if net.readers[name] == 1 and (product := net.products.get(f"{name}{OWN}float")) is not None:
            net.products[output] = product
    else:
        net.integers[output] = net.standing_for(node, 0)
        net.call(f"{name}{OWN}float", net.own(output, "float"))


PASSED_RULES: dict[str, Rule] = {
    "Cast": cast,
    "Concat": concat,
    "Pad": pad,
    "Shape": measuring,
    "Size": measuring,
    "Add": integer_rules.add,
    "Mul": integer_rules.mul,
    **dict.fromkeys(MOVING, moving),
}
"""Rules of operators that integers may pass through."""
INTEGER_RULES: dict[str, Rule] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    **linear_rules.RULES,
    **integer_rules.RULES,
}
"""Rules of operators that are for integers."""
INTEGER_OPERATORS = frozenset(INTEGER_RULES)
RULES = PASSED_RULES | INTEGER_RULES
