"""Translation of products of integers, as dynamic quantization writes them, and of weights in blocks.

A dynamic scale is computed from each image. The float network takes it for 1 and the image's integers for the
numbers themselves, so that it cancels. A product of integers is then x · Q for the weight's integers Q, and the
weight's own step, by which the file multiplies the product, is moved into the weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto

from export.graph.attributes import attributes_of
from export.graph.graph import Array
from export.importing.types.integers import UNIT, Integers
from export.importing.types.translation import Channels, Product, Rule, Translation

BITS_OF_A_BYTE = 8


def dynamic_quantize_linear(net: Translation, node: NodeProto) -> None:
    """DynamicQuantizeLinear(x) → x, 1, 0."""
    integers, step, nought = node.output
    net.make_dynamic(step, np.ones((), np.float32))
    net.make_dynamic(nought, np.zeros((), np.uint8))
    net.rounds = True
    net.integers[integers] = UNIT
    net.call(node.input[0], net.own(integers, "float"))


def conv_integer(net: Translation, node: NodeProto) -> None:
    """ConvInteger(x, w, nought, nought) → Conv."""
    product(net, node, "Conv", Channels(weight=0, product=1), **attributes_of(node))


def matmul_integer(net: Translation, node: NodeProto) -> None:
    """MatMulInteger(a, b, nought, nought) → MatMul."""
    product(net, node, "MatMul", Channels(weight=-1, product=-1))


def product(net: Translation, node: NodeProto, operator: str, channels: Channels, **given: Any) -> None:
    """Add the float product; a stored weight keeps the step 1 until `mul` knows its own."""
    left, right = centred(net, node, 0, 2), centred(net, node, 1, 3, axis=channels.weight)
    twin = net.emit(operator, [left, right], net.own(node.output[0], "float"), node.name, **given)
    net.integers[node.output[0]] = UNIT
    if node.input[1] in net.values:
        net.products[twin] = Product(net.nodes[-1], net.plain(node.input[1]), channels)


def centred(net: Translation, node: NodeProto, index: int, nought_at: int, axis: int = 0) -> str:
    """Return q − nought of an operand, as floats."""
    nought = net.value(node, nought_at, np.zeros((), np.uint8))
    stated = Integers(np.ones(nought.shape, np.float32), nought, axis)
    return net.floats(node, index, stated, net.own(node.output[0], "integers"))


def mul(net: Translation, node: NodeProto) -> None:
    """Move the step of a weight, with which a product of its integers is multiplied, into the weight."""
    for source, step in (tuple(node.input), tuple(reversed(node.input))):
        found = net.products.get(source)
        if found is None or not net.is_dynamic(step) or net.readers[source] != 1:
            continue
        weight = net.made[found.node.input[1]]
        column = step_of_channels(net.values[step], weight.ndim, found.channels)
        if column is not None:
            found.node.input[1] = net.constant(np.asarray(weight * column, np.float32), found.name)
            net.call(source, node.output[0])
            net.products[node.output[0]] = found
            return
    net.keep(node)


def add(net: Translation, node: NodeProto) -> None:
    """Make what is added to every channel of a convolution's product the convolution's bias."""
    for source, term in (tuple(node.input), tuple(reversed(node.input))):
        found = net.products.get(source)
        if found is None or found.node.op_type != "Conv" or net.readers[source] != 1 or len(found.node.input) > 2:
            continue
        made = net.producers.get(term)
        stored = made.input[0] if made is not None and made.op_type == "Reshape" else term
        weight = net.made[found.node.input[1]]
        if stored in net.values and net.values[stored].shape == weight.shape[:1]:
            shape = net.values.get(made.input[1]) if made is not None else None
            if shape is not None and list(shape) == [1, -1, *[1] * (weight.ndim - 2)]:
                found.node.input.append(stored)
                net.call(source, node.output[0])
                return
    net.keep(node)


def step_of_channels(step: Array, axes: int, channels: Channels) -> Array | None:
    """Shape a step for each channel of a product for the weight's channels; None where it is no such."""
    if step.size == 1:
        return step.reshape(())
    at = channels.product if channels.product < 0 else channels.product - axes
    if step.ndim < -at or step.shape[at] != step.size:
        return None
    shape = [1] * axes
    shape[channels.weight] = -1
    return step.reshape(shape)


def matmul_to_float(net: Translation, node: NodeProto) -> None:
    """MatMulIntegerToFloat(a, b, step, step, nought, nought, bias) → MatMul, Add."""
    left, right = net.stated(node, 2, 4), net.stated(node, 3, 5, -1)
    with_bias(net, node, [net.floats(node, 0, left), net.floats(node, 1, right)], 6)


def dynamic_matmul(net: Translation, node: NodeProto) -> None:
    """DynamicQuantizeMatMul(x, b, step, nought, bias) → MatMul, Add."""
    net.rounds = True
    with_bias(net, node, [node.input[0], net.floats(node, 1, net.stated(node, 2, 3, -1))], 4)


def matmul_in_blocks(net: Translation, node: NodeProto) -> None:
    """MatMulNBits(x, blocks, steps, noughts, groups, bias) → MatMul, Add.

    The weight [K, N] is stored by rows of its transpose, each in blocks of `block_size` numbers of `bits` bits.
    """
    given = attributes_of(node)
    rows, columns, bits, size = (int(given.get(name, 4)) for name in ("K", "N", "bits", "block_size"))
    blocks = -(-rows // size)
    if len(node.input) > 4 and node.input[4]:
        raise net.refusal(node, "its rows are in another order")
    stored = unpacked(net.value(node, 1).reshape(columns, blocks, -1), bits)[..., :size].astype(np.float32)
    steps = net.value(node, 2).reshape(columns, blocks, 1).astype(np.float32)
    nought: Array = np.full((columns, blocks, 1), 2 ** (bits - 1), np.float32)
    if len(node.input) > 3 and node.input[3]:
        packed = net.value(node, 3)
        whole = unpacked(packed.reshape(columns, -1), bits) if packed.dtype == np.uint8 else packed
        nought = whole.reshape(columns, -1)[:, :blocks, None].astype(np.float32)
    weight = ((stored - nought) * steps).reshape(columns, -1)[:, :rows].T
    net.dequantizes = True
    name = net.constant(np.ascontiguousarray(weight), net.plain(node.input[1]))
    with_bias(net, node, [node.input[0], name], 5)


def unpacked(packed: Array, bits: int) -> Array:
    """Return the numbers of `bits` bits, a divisor of eight, that each byte holds, the lowest bits first."""
    places = np.arange(0, BITS_OF_A_BYTE, bits, dtype=np.uint8)
    parts = (packed[..., None] >> places) & np.uint8(2**bits - 1)
    return np.asarray(parts.reshape(*packed.shape[:-1], -1))


def with_bias(net: Translation, node: NodeProto, operands: list[str], bias_at: int) -> None:
    """Add a MatMul, and an Add of the node's float operand at `bias_at` if there is one."""
    if len(node.input) <= bias_at or not node.input[bias_at]:
        net.emit("MatMul", operands, node.output[0], node.name)
        return
    product = net.emit("MatMul", operands, net.own(node.output[0], "product"), node.name)
    net.emit("Add", [product, node.input[bias_at]], node.output[0])


RULES: dict[str, Rule] = {
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
    "MatMulIntegerToFloat": matmul_to_float,
    "DynamicQuantizeMatMul": dynamic_matmul,
    "MatMulNBits": matmul_in_blocks,
}
