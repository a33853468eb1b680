"""Attention as ONNX Runtime fuses it, in standard operators."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto, TensorProto

from export.standard.written import Attributes, Written, operand, total_of, unknown_form


def attention(w: Written, node: NodeProto, given: Attributes) -> None:
    """One product gives queries, keys and values of all heads: [N, S, in]·[in, 3·width] + bias."""
    _refuse_operands(node, {3: "a mask", 4: "a past"})
    _refuse_attributes(node, given, "unidirectional", "do_rotary")
    projected = w.add("MatMul", node.input[0], node.input[1], named=node.name)
    if operand(node, 2):
        projected = w.add("Add", projected, node.input[2])
    sizes = given.get("qkv_hidden_sizes")
    if sizes:
        first = w.add("Split", projected, w.constant(list(sizes)), outputs=3, axis=-1)
    else:
        first = w.add("Split", projected, outputs=3, axis=-1, num_outputs=3)
    parts = [_heads(w, name, given["num_heads"]) for name in (first, f"{first}:1", f"{first}:2")]
    _attend(w, parts, operand(node, 5), given)


def multi_head_attention(w: Written, node: NodeProto, given: Attributes) -> None:
    """Queries, keys and values [N, S, width] come apart; a bias is for the three side by side."""
    _refuse_operands(node, {4: "a mask", 6: "a past", 7: "a past"})
    _refuse_attributes(node, given, "unidirectional")
    if not operand(node, 1) or not operand(node, 2):
        raise unknown_form(node, "its queries, keys and values are packed into one tensor")
    tensors = list(node.input[:3])
    if operand(node, 3):
        rows = w.add("Reshape", node.input[3], w.constant([3, -1]))
        tensors = [w.add("Add", x, w.add("Gather", rows, w.constant(row), axis=0)) for row, x in enumerate(tensors)]
    _attend(w, [_heads(w, tensor, given["num_heads"]) for tensor in tensors], operand(node, 5), given)


def _heads(w: Written, tensor: str, heads: int) -> str:
    """[N, S, heads·d] → [N, heads, S, d]."""
    apart = w.add("Reshape", tensor, w.constant([0, 0, heads, -1]))
    return w.add("Transpose", apart, perm=[0, 2, 1, 3])


def _attend(w: Written, parts: list[str], bias: str, given: Attributes) -> None:
    """softmax(scale·Q·Kᵀ + bias)·V, with scale 1/√d unless stated, and the heads side by side again."""
    q, k, v = parts
    scores = w.add("MatMul", q, w.add("Transpose", k, perm=[0, 1, 3, 2]))
    if scale := given.get("scale", 0.0):
        scores = w.add("Mul", scores, w.constant(scale))
    else:
        width = w.add("Cast", w.add("Shape", q, start=3), to=TensorProto.FLOAT)
        scores = w.add("Div", scores, w.add("Sqrt", width))
    mixed = w.add("MatMul", w.add("Softmax", total_of(w, scores, bias), axis=-1), v)
    w.give(w.add("Reshape", w.add("Transpose", mixed, perm=[0, 2, 1, 3]), w.constant([0, 0, -1])))


def _refuse_operands(node: NodeProto, kinds: Mapping[int, str]) -> None:
    for index, kind in kinds.items():
        if operand(node, index):
            raise unknown_form(node, f"it takes {kind} ({node.input[index]!r})")


def _refuse_attributes(node: NodeProto, given: Attributes, *names: str) -> None:
    for name in names:
        if given.get(name, 0):
            raise unknown_form(node, f"{name} is set")
