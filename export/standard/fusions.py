"""Operators of ONNX Runtime's own domain, which its optimizer writes, as standard ones.

A file that ONNX Runtime saved (`SessionOptions.optimized_model_filepath`, optimum) holds them. Weights keep their
names. Their definitions: docs/ContribOperators.md in ONNX Runtime's repository.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto

from export.graph.attributes import attributes_of
from export.graph.graph import STANDARD, standard_opset
from export.standard.attention import attention, multi_head_attention
from export.standard.written import Attributes, Written, operand, total_of, unknown_form

RUNTIME = "com.microsoft"
FIRST_WITH_LAYER_NORMALIZATION = 17
OF_OLDER_OPSETS = {"LayerNormalization", "SimplifiedLayerNormalization"}
"""Operators that ONNX Runtime writes into the standard domain although the file's opset lacks them."""
QUICK_GELU_SLOPE = 1.702

Fusion = Callable[[Written, NodeProto, Attributes], None]


def is_fusion(node: NodeProto) -> bool:
    """Tell whether a node is one of the operators above."""
    return node.domain == RUNTIME and node.op_type in FUSIONS


def in_their_own_domain(model: ModelProto) -> ModelProto:
    """Return `model` with ONNX Runtime's own operators out of the standard domain, where no converter knows them."""
    strange = set(OF_OLDER_OPSETS)
    if standard_opset(model) >= FIRST_WITH_LAYER_NORMALIZATION:
        strange.remove("LayerNormalization")
    if not any(node.op_type in strange and node.domain in STANDARD for node in model.graph.node):
        return model
    moved = ModelProto()
    moved.CopyFrom(model)
    for node in moved.graph.node:
        if node.op_type in strange and node.domain in STANDARD:
            node.domain = RUNTIME
    if all(entry.domain != RUNTIME for entry in moved.opset_import):
        moved.opset_import.add(domain=RUNTIME, version=1)
    return moved


def without_fusions(model: ModelProto) -> ModelProto:
    """Return `model`, which is at the engine's opset, with these operators written out in standard ones.

    Raises UnsupportedOperator for a form of them that no classifier needs.
    """
    if not any(is_fusion(node) for node in model.graph.node):
        return model
    plain = ModelProto()
    plain.CopyFrom(model)
    del plain.graph.node[:]
    for node in model.graph.node:
        if not is_fusion(node):
            plain.graph.node.append(node)
            continue
        written = Written(node)
        FUSIONS[node.op_type](written, node, attributes_of(node))
        plain.graph.node.extend(written.nodes)
    kept = [entry for entry in plain.opset_import if entry.domain != RUNTIME]
    del plain.opset_import[:]
    plain.opset_import.extend(kept)
    return plain


def _conv(w: Written, node: NodeProto, given: Attributes) -> None:
    """Y = activation(Conv(X, W, B) + Z)."""
    kept = {name: value for name, value in given.items() if not name.startswith("activation")}
    y = w.add("Conv", *_without_last_absent(node.input[:3]), named=node.name, **kept)
    if operand(node, 3):
        y = w.add("Add", y, node.input[3])
    w.give(_activated(w, node, y, given.get("activation", ""), list(given.get("activation_params", []))))


def _gemm(w: Written, node: NodeProto, given: Attributes) -> None:
    kept = {name: value for name, value in given.items() if not name.startswith("activation")}
    y = w.add("Gemm", *_without_last_absent(node.input), named=node.name, **kept)
    w.give(_activated(w, node, y, given.get("activation", ""), _parameters(given)))


def _matmul(w: Written, node: NodeProto, given: Attributes) -> None:
    """Y = α·A·B, of operands whose first axis is moved before the last two, and whose last two are swapped, if told."""
    a, b = (_moved(w, node.input[index], given, side) for index, side in enumerate("AB"))
    y = w.add("MatMul", a, b, named=node.name)
    if (alpha := given.get("alpha", 1.0)) != 1.0:
        y = w.add("Mul", y, w.constant(alpha))
    w.give(_activated(w, node, y, given.get("activation", ""), _parameters(given)))


def _moved(w: Written, tensor: str, given: Attributes, side: str) -> str:
    """Write a transposition whatever the number of axes: `export.tracing` makes a Transpose of it."""
    source, last = "...ij", "ij"
    if given.get(f"transBatch{side}", 0):
        source = "i...j"
    if given.get(f"trans{side}", 0):
        last = "ji"
    return tensor if source[3:] == last else w.add("Einsum", tensor, equation=f"{source}->...{last}")


def _gelu(w: Written, node: NodeProto, given: Attributes) -> None:
    """Gelu, BiasGelu: x is the sum of the operands."""
    w.give(w.add("Gelu", total_of(w, *node.input)))


def _fast_gelu(w: Written, node: NodeProto, given: Attributes) -> None:
    w.give(w.add("Gelu", total_of(w, *node.input), approximate="tanh"))


def _quick_gelu(w: Written, node: NodeProto, given: Attributes) -> None:
    """y = x·σ(αx)."""
    x, slope = node.input[0], given.get("alpha", QUICK_GELU_SLOPE)
    bent = w.add("Sigmoid", x if slope == 1.0 else w.add("Mul", x, w.constant(slope)))
    w.give(w.add("Mul", x, bent))


def _layer_normalization(w: Written, node: NodeProto, given: Attributes) -> None:
    kept = {name: given[name] for name in ("axis", "epsilon") if name in given}
    w.give(w.add("LayerNormalization", *_without_last_absent(node.input), named=node.name, **kept))


def _skip_layer_normalization(w: Written, node: NodeProto, given: Attributes) -> None:
    """Normalize input + skip + bias; the sum itself is the fourth output."""
    total = _skip_sum(w, node, bias=4)
    scales = _without_last_absent([operand(node, 2), operand(node, 3)])
    w.give(w.add("LayerNormalization", total, *scales, named=node.name, epsilon=given.get("epsilon", 1e-12)))


def _skip_root_mean_square(w: Written, node: NodeProto, given: Attributes) -> None:
    total = _skip_sum(w, node, bias=3)
    _root_mean_square(w, total, node.input[2], given.get("epsilon", 1e-12))


def _simplified_layer_normalization(w: Written, node: NodeProto, given: Attributes) -> None:
    if given.get("axis", -1) != -1:
        raise unknown_form(node, "it normalizes more than the last axis")
    _root_mean_square(w, node.input[0], node.input[1], given.get("epsilon", 1e-5))


def _root_mean_square(w: Written, x: str, scale: str, epsilon: float) -> None:
    """y = scale·x/√(mean x² + ε) along the last axis."""
    mean = w.add("ReduceMean", w.add("Mul", x, x), w.constant([-1]), keepdims=1)
    root = w.add("Sqrt", w.add("Add", mean, w.constant(epsilon)))
    w.give(w.add("Mul", w.add("Div", x, root), scale))


def _skip_sum(w: Written, node: NodeProto, bias: int) -> str:
    total = total_of(w, node.input[0], node.input[1], operand(node, bias))
    if len(node.output) > 3 and node.output[3]:
        w.give(total, 3)
    return total


def _grid_sample(w: Written, node: NodeProto, given: Attributes) -> None:
    modes = {"bilinear": "linear", "bicubic": "cubic"}
    mode = given.get("mode", "bilinear")
    kept = {name: given[name] for name in ("align_corners", "padding_mode") if name in given}
    w.give(w.add("GridSample", *node.input, mode=modes.get(mode, mode), **kept))


def _same(w: Written, node: NodeProto, given: Attributes) -> None:
    """Pad, Trilu: the standard operator of the name."""
    w.give(w.add(node.op_type, *node.input, named=node.name, **given))


def _expand_dims(w: Written, node: NodeProto, given: Attributes) -> None:
    w.give(w.add("Unsqueeze", node.input[0], w.add("Cast", node.input[1], to=TensorProto.INT64)))


FUSIONS: dict[str, Fusion] = {
    "Attention": attention,
    "BiasGelu": _gelu,
    "ExpandDims": _expand_dims,
    "FastGelu": _fast_gelu,
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "FusedMatMulActivation": _matmul,
    "Gelu": _gelu,
    "GridSample": _grid_sample,
    "LayerNormalization": _layer_normalization,
    "MultiHeadAttention": multi_head_attention,
    "Pad": _same,
    "QuickGelu": _quick_gelu,
    "SimplifiedLayerNormalization": _simplified_layer_normalization,
    "SkipLayerNormalization": _skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": _skip_root_mean_square,
    "TransposeMatMul": _matmul,
    "Trilu": _same,
}
PARAMETERS_OF_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Elu": ("alpha",),
    "Softplus": (),
    "Softsign": (),
    "HardSwish": (),
    "Gelu": (),
}
"""Activations that are fused, with the attributes that their parameters are for."""


def _activated(w: Written, node: NodeProto, tensor: str, activation: str, parameters: list[float]) -> str:
    if not activation:
        return tensor
    if activation == "Clip":
        return w.add("Clip", tensor, *(w.constant(bound) for bound in parameters))
    if activation not in PARAMETERS_OF_ACTIVATIONS:
        raise unknown_form(node, f"its activation {activation!r} is not known")
    names = PARAMETERS_OF_ACTIVATIONS[activation]
    given: dict[str, Any] = dict(zip(names, parameters, strict=False))
    return w.add(activation, tensor, **given)


def _parameters(given: Attributes) -> list[float]:
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return [given[name] for name in names if name in given]


def _without_last_absent(names: Any) -> list[str]:
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return kept
