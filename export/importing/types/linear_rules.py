"""Translation of operators from integers to integers: QLinearConv and its like, of ONNX and of `com.microsoft`.

Every operand is three: the integers, their step and their nought. `Operand` says where the three are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto

from export.graph.attributes import attributes_of
from export.importing.types.integers import Integers
from export.importing.types.translation import Rule, Translation

FIRST_WITH_SOFTMAX_OF_ONE_AXIS = 13
CHANNELS_LAST = "channels_last"


def operands(net: Translation, node: NodeProto, *positions: int, axis: int = 0) -> list[str]:
    """Return the float tensors of the operands that begin at `positions`, each followed by its step and nought."""
    return [net.floats(node, at, net.stated(node, at + 1, at + 2, axis)) for at in positions]


def finish(net: Translation, node: NodeProto, operator: str, inputs: Sequence[str], at: int, **attributes: Any) -> None:
    """Add `operator` and let its result stand for the node's integers; `at` is the place of their step."""
    raw = net.emit(operator, inputs, net.own(node.output[0], "unlimited"), node.name, **attributes)
    net.rounded(raw, node.output[0], net.stated(node, at, at + 1))


def plain_attributes(net: Translation, node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes without `channels_last`, which must not be set."""
    found = attributes_of(node)
    if found.pop(CHANNELS_LAST, 0):
        raise net.refusal(node, "its channels come last")
    return found


def conv(net: Translation, node: NodeProto) -> None:
    """QLinearConv(x, …, w, …, step, nought, bias) → Conv."""
    image = net.stated(node, 1, 2)
    weight = net.stated(node, 4, 5)
    inputs = [net.floats(node, 0, image), net.floats(node, 3, weight)]
    if len(node.input) > 8 and node.input[8]:
        inputs.append(bias(net, node, 8, image.step * weight.step))
    finish(net, node, "Conv", inputs, 6, **plain_attributes(net, node))


def bias(net: Translation, node: NodeProto, index: int, step: Any) -> str:
    """Return a bias that is stored as integers with the step of the products it is added to."""
    steps = np.asarray(step, np.float32)
    return net.floats(node, index, Integers(steps, np.zeros(steps.shape, np.int32)))


def matmul(net: Translation, node: NodeProto) -> None:
    """QLinearMatMul(a, …, b, …, step, nought) → MatMul."""
    finish(net, node, "MatMul", [*operands(net, node, 0), *operands(net, node, 3, axis=-1)], 6)


def gemm(net: Translation, node: NodeProto) -> None:
    """QGemm(a, …, b, …, bias, step, nought) → Gemm; without a step its result is float."""
    given = plain_attributes(net, node)
    left, right = net.stated(node, 1, 2), net.stated(node, 4, 5, 0 if given.get("transB", 0) else 1)
    inputs = [net.floats(node, 0, left), net.floats(node, 3, right)]
    if len(node.input) > 6 and node.input[6]:
        inputs.append(bias(net, node, 6, given.get("alpha", 1.0) * left.step * right.step))
    if len(node.input) > 7 and node.input[7]:
        finish(net, node, "Gemm", inputs, 7, **given)
    else:
        net.emit("Gemm", inputs, node.output[0], node.name, **given)


def of_two(operator: str) -> Rule:
    """Return the rule of an operator on a and b."""

    def rule(net: Translation, node: NodeProto) -> None:
        finish(net, node, operator, operands(net, node, 0, 3), 6)

    return rule


def of_one(operator: str) -> Rule:
    """Return the rule of an operator on x, with the same attributes."""

    def rule(net: Translation, node: NodeProto) -> None:
        finish(net, node, operator, operands(net, node, 0), 3, **plain_attributes(net, node))

    return rule


def softmax(net: Translation, node: NodeProto) -> None:
    """QLinearSoftmax(x, …, step, nought) → Softmax over one axis."""
    given = plain_attributes(net, node)
    if given.pop("opset", FIRST_WITH_SOFTMAX_OF_ONE_AXIS) < FIRST_WITH_SOFTMAX_OF_ONE_AXIS and given.get("axis") != -1:
        raise net.refusal(node, "it normalizes over several axes, as before opset 13")
    finish(net, node, "Softmax", operands(net, node, 0), 3, axis=given.get("axis", -1))


def concat(net: Translation, node: NodeProto) -> None:
    """QLinearConcat(step, nought, x₁, …, x₂, …) → Concat."""
    inputs = operands(net, node, *range(2, len(node.input), 3))
    finish(net, node, "Concat", inputs, 0, axis=plain_attributes(net, node)["axis"])


def where(net: Translation, node: NodeProto) -> None:
    """QLinearWhere(condition, x, …, y, …, step, nought) → Where."""
    finish(net, node, "Where", [node.input[0], *operands(net, node, 1, 4)], 7)


RULES: dict[str, Rule] = {
    "QLinearConv": conv,
    "QLinearMatMul": matmul,
    "QGemm": gemm,
    "QLinearAdd": of_two("Add"),
    "QLinearMul": of_two("Mul"),
    "QLinearGlobalAveragePool": of_one("GlobalAveragePool"),
    "QLinearAveragePool": of_one("AveragePool"),
    "QLinearLeakyRelu": of_one("LeakyRelu"),
    "QLinearSigmoid": of_one("Sigmoid"),
    "QLinearSoftmax": softmax,
    "QLinearConcat": concat,
    "QLinearWhere": where,
}
