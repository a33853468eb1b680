"""Files that ONNX Runtime's optimizer saved: same answers and same norms as the file that it read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.gradient import UnsupportedOperator, differentiate, prepare
from export.importing import ImportedModel, ImportOptions, import_classifier
from export.standard.fusions import FUSIONS
from tests.export.gradient.cases.case import w
from tests.export.gradient.rules.runner import runtime

Array = NDArray[Any]
node = helper.make_node
OPTIONS = ImportOptions(labels=tuple("abcd"), mean=(0.0,) * 3, std=(1.0,) * 3)
OUTPUTS = ("logits", "weight_square", "bias_square", "other_square", "input_gradient")
MICROSOFT = "com.microsoft"
TOKENS: tuple[onnx.NodeProto, ...] = (
    node("Conv", ["image", "stem"], ["map"], "stem", kernel_shape=[2, 2], strides=[2, 2]),
    node("Reshape", ["map", "rows"], ["channels"]),
    node("Transpose", ["channels"], ["t"], perm=[0, 2, 1]),
)
"""Nine tokens `t` [N, 9, 8] of an image [N, 3, 6, 6]."""
CONSTANTS: dict[str, Array] = {"stem": w(8, 3, 2, 2), "rows": np.array([0, 8, -1])}


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes from `image` or `t` to `y`, and the operators that are to come of them."""

    fused: str
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array] = field(default_factory=dict)
    opset: int = 17

    def __str__(self) -> str:
        return f"{self.fused} {self.opset}"

    def model(self) -> ModelProto:
        """The network with a mean over all but the last axis' features, and a linear layer, behind it."""
        reads = {name for entry in self.nodes for name in entry.input}
        nodes = [*(TOKENS if "t" in reads else ()), *self.nodes, node("Flatten", ["y"], ["flat"])]
        nodes.append(node("Gemm", ["flat", "head.weight", "head.bias"], ["scores"], "head", transB=1))
        constants = {
            **CONSTANTS,
            **self.constants,
            "head.weight": w(4, 72, low=-0.3, high=0.3),
            "head.bias": w(4, seed=5),
        }
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 6, 6])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)


def convolved(activation: str, *operands: str, **attributes: Any) -> tuple[onnx.NodeProto, ...]:
    return (
        node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], "conv", pads=[0, 0, 0, 0], strides=[2, 2]),
        node(activation, ["c", *operands], ["a"], **attributes),
        node("Conv", ["a", "second.weight"], ["y"], "second"),
    )


CONVOLUTION = {"conv.weight": w(4, 3, 2, 2), "conv.bias": w(4), "second.weight": w(8, 4, 1, 1), "low": w(low=0, high=0)}
CONVOLUTION |= {"six": np.array(6, np.float32), "other.weight": w(4, 3, 2, 2, seed=1)}
VECTORS = {"scale": w(8, low=0.5, high=1.5), "shift": w(8), "bias": w(8, seed=2)}
SQUARE = {"fc.weight": w(8, 8)}
HALF, ONE, ROOT = (np.array(value, np.float32) for value in (0.5, 1.0, np.sqrt(2.0)))
GELU_BY_HAND = (
    node("Div", ["h", "root"], ["d"]),
    node("Erf", ["d"], ["e"]),
    node("Add", ["e", "one"], ["o"]),
    node("Mul", ["h", "o"], ["m"]),
    node("Mul", ["m", "half"], ["y"]),
)
GELU = {"root": ROOT, "one": ONE, "half": HALF}

OPTIMIZED = [
    Network("FusedConv", convolved("Relu"), CONVOLUTION),
    Network("FusedConv", convolved("Sigmoid"), CONVOLUTION),
    Network("FusedConv", convolved("LeakyRelu", alpha=0.2), CONVOLUTION),
    Network("FusedConv", convolved("Clip", "low", "six"), CONVOLUTION, 13),
    Network("FusedConv", convolved("HardSigmoid", alpha=0.3, beta=0.4), CONVOLUTION),
    Network(
        "FusedGemm",
        (
            node("Flatten", ["t"], ["f"]),
            node("Gemm", ["f", "g.weight", "g.bias"], ["g"], "g", transB=1),
            node("LeakyRelu", ["g"], ["y"], alpha=0.3),
        ),
        {"g.weight": w(72, 72, low=-0.1, high=0.1), "g.bias": w(72)},
    ),
    Network(
        "FusedMatMul",
        (
            node("Transpose", ["t"], ["u"], perm=[0, 2, 1]),
            node("MatMul", ["t", "u"], ["s"]),
            node("Mul", ["s", "scale"], ["k"]),
            node("MatMul", ["k", "t"], ["y"]),
        ),
        {"scale": np.array(0.25, np.float32)},
    ),
    Network("Gelu", (node("MatMul", ["t", "fc.weight"], ["h"], "fc"), *GELU_BY_HAND), SQUARE | GELU),
    Network(
        "BiasGelu",
        (node("MatMul", ["t", "fc.weight"], ["p"], "fc"), node("Add", ["p", "bias"], ["h"]), *GELU_BY_HAND),
        SQUARE | GELU | VECTORS,
    ),
    Network(
        "QuickGelu",
        (
            node("MatMul", ["t", "fc.weight"], ["h"], "fc"),
            node("Mul", ["h", "slope"], ["m"]),
            node("Sigmoid", ["m"], ["g"]),
            node("Mul", ["h", "g"], ["y"]),
        ),
        SQUARE | {"slope": np.array(1.702, np.float32)},
    ),
    Network(
        "SkipLayerNormalization",
        (
            node("MatMul", ["t", "fc.weight"], ["h"], "fc"),
            node("Add", ["h", "t"], ["s"]),
            node("LayerNormalization", ["s", "scale", "shift"], ["y"], axis=-1, epsilon=1e-3),
        ),
        SQUARE | VECTORS,
    ),
]


def fused(operator: str, *operands: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return node(operator, operands, outputs, "fused", domain=MICROSOFT, **attributes)


PROJECTION = {"qkv.weight": w(8, 24), "qkv.bias": w(24), "near": w(1, 2, 9, 9)}
QUERIES = tuple(node("MatMul", ["t", f"{name}.weight"], [name], name) for name in "qkv")
PROJECTIONS = {f"{name}.weight": w(8, 8, seed=index) for index, name in enumerate("qkv")}
BOUNDS = {"first": np.array([0]), "one": np.array([1])}

WRITTEN = [
    Network(
        "FusedConv",
        (
            node("Conv", ["image", "other.weight"], ["z"], "other", strides=[2, 2]),
            fused(
                "FusedConv", "image", "conv.weight", "conv.bias", "z", outputs=("a",), strides=[2, 2],
                activation="Clip", activation_params=[0.0, 6.0],
            ),
            node("Conv", ["a", "second.weight"], ["y"], "second"),
        ),
        CONVOLUTION,
    ),
    Network("LayerNormalization", (node("LayerNormalization", ["t", "scale", "shift"], ["y"]),), VECTORS, opset=13),
    Network("FastGelu", (fused("FastGelu", "t"),)),
    Network("FastGelu", (fused("FastGelu", "t", "bias"),), VECTORS),
    Network(
        "SkipSimplifiedLayerNormalization",
        (fused("SkipSimplifiedLayerNormalization", "t", "t", "scale"),),
        VECTORS,
    ),
    Network(
        "SkipSimplifiedLayerNormalization",
        (node("Mul", ["t", "small"], ["s"]), fused("SkipSimplifiedLayerNormalization", "s", "s", "scale")),
        VECTORS | {"small": np.array(1e-4, np.float32)},
    ),
    Network(
        "SkipLayerNormalization",
        (
            fused("SkipLayerNormalization", "t", "t", "scale", "shift", "bias", outputs=("n", "", "", "s")),
            node("Add", ["n", "s"], ["y"]),
        ),
        VECTORS,
    ),
    Network("SimplifiedLayerNormalization", (node("SimplifiedLayerNormalization", ["t", "scale"], ["y"]),), VECTORS),
    Network("Attention", (fused("Attention", "t", "qkv.weight", "qkv.bias", num_heads=2),), PROJECTION),
    Network(
        "Attention",
        (fused("Attention", "t", "qkv.weight", "qkv.bias", "", "", "near", num_heads=2, scale=0.3),),
        PROJECTION,
    ),
    Network(
        "MultiHeadAttention", (*QUERIES, fused("MultiHeadAttention", "q", "k", "v", num_heads=2)), PROJECTIONS
    ),
    Network(
        "MultiHeadAttention",
        (*QUERIES, fused("MultiHeadAttention", "q", "k", "v", "qkv.bias", "", "near", num_heads=2)),
        PROJECTIONS | {"qkv.bias": w(24), "near": w(1, 2, 9, 9)},
    ),
    Network("FusedMatMul", (fused("FusedMatMul", "t", "fc.weight", transB=1, alpha=0.5),), SQUARE),
    Network(
        "FusedMatMul",
        (
            node("Transpose", ["t"], ["u"], perm=[2, 0, 1]),
            fused("FusedMatMul", "u", "t", outputs=("m",), transA=1, transB=1, transBatchA=1),
            node("MatMul", ["m", "t"], ["y"]),
        ),
    ),
    Network("TransposeMatMul", (fused("TransposeMatMul", "t", "fc.weight", transB=1),), SQUARE),
    Network("ExpandDims", (fused("ExpandDims", "t", "axis"),), {"axis": np.array(1, np.int32)}),
    Network("Trilu", (fused("Trilu", "t"),)),
    Network(
        "Pad", (fused("Pad", "t", "pads", outputs=("p",)), node("Slice", ["p", "first", "ninth", "one"], ["y"])),
        BOUNDS | {"pads": np.array([0, 1, 0, 0, 0, 0]), "ninth": np.array([9])},
    ),
    Network(
        "GridSample",
        (
            node("Slice", ["t", "first", "second", "last"], ["pairs"]),
            node("Reshape", ["pairs", "square"], ["grid"]),
            fused("GridSample", "map", "grid", align_corners=1),
        ),
        {"first": np.array([0]), "second": np.array([2]), "last": np.array([2]), "square": np.array([0, 3, 3, 2])},
    ),
]  # fmt: skip


def imported(model: ModelProto, folder: Path) -> ImportedModel:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return import_classifier(path, OPTIONS)


def optimized(model: ModelProto, folder: Path, level: str = "ORT_ENABLE_EXTENDED") -> ModelProto:
    """Return what ONNX Runtime saves of `model` at an optimization level."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")


def gradients(model: ImportedModel) -> dict[str, Any]:
    """Every norm by the name of what it is of, and the logits and input gradient."""
    ready = prepare(model.model, constants=model.constants, logits=True)
    image = np.random.default_rng(1).standard_normal((3, 3, 6, 6), dtype=np.float32)
    given = {"input": image, "label": np.array([0, 3, 1]), "cotangent_scale": np.ones(3, np.float32)}
    found = dict(zip(OUTPUTS, runtime(differentiate(ready, OUTPUTS)).run(OUTPUTS, given), strict=True))
    columns = {
        "weight_square": [layer.name for layer in ready.layers],
        "bias_square": [f"bias of {layer.name}" for layer in ready.layers if layer.bias],
        "other_square": [other.name for other in ready.other_parameters],
    }
    answers = {"logits": found["logits"], "input_gradient": found["input_gradient"]}
    for output, names in columns.items():
        answers |= {name: found[output][:, column] for column, name in enumerate(names)}
    return answers


@pytest.mark.parametrize("network", OPTIMIZED, ids=str)
def test_what_the_optimizer_saved_has_the_norms_of_what_it_read(network: Network, tmp_path: Path) -> None:
    saved = optimized(network.model(), tmp_path)
    assert network.fused in {entry.op_type for entry in saved.graph.node}
    expected, found = (gradients(imported(model, tmp_path)) for model in (network.model(), saved))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5 * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("network", WRITTEN, ids=str)
def test_a_fusion_written_out_answers_as_onnx_runtime_s_own_operator(network: Network, tmp_path: Path) -> None:
    """The import itself compares the answers; every weight must still be found under its name."""
    model = network.model()
    image = np.random.default_rng(1).standard_normal((3, 3, 6, 6), dtype=np.float32)
    (own,) = runtime(model).run(None, {"image": image})
    found = gradients(imported(model, tmp_path))
    np.testing.assert_allclose(found["logits"], own, rtol=1e-4, atol=1e-5)
    for weight in network.constants:
        assert not weight.endswith(".weight") or weight.removesuffix(".weight") in found


def test_the_bias_of_queries_keys_and_values_is_a_parameter(tmp_path: Path) -> None:
    network = next(entry for entry in WRITTEN if "qkv.bias" in entry.constants and entry.fused == "MultiHeadAttention")
    assert "qkv.bias" in gradients(imported(network.model(), tmp_path))


def test_a_note_says_that_weights_may_hold_more_than_was_trained(tmp_path: Path) -> None:
    notes = imported(optimized(OPTIMIZED[0].model(), tmp_path), tmp_path).notes
    assert any("ONNX Runtime's optimizer wrote the file" in note for note in notes)


def test_every_fusion_is_tried() -> None:
    tried = {network.fused for network in (*OPTIMIZED, *WRITTEN)}
    assert tried | {"FusedMatMulActivation"} == set(FUSIONS)


def test_a_file_for_one_processor_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """ONNX Runtime stores weights in blocks as wide as the processor's registers."""
    network = Network("Conv", convolved("Relu"), CONVOLUTION | {"conv.weight": w(16, 3, 2, 2), "conv.bias": w(16)})
    network.constants["second.weight"] = w(8, 16, 1, 1)
    saved = optimized(network.model(), tmp_path, "ORT_ENABLE_ALL")
    if not any(entry.domain == "com.microsoft.nchwc" for entry in saved.graph.node):
        pytest.skip("ONNX Runtime has no blocked convolutions for this processor")
    with pytest.raises(UnsupportedOperator, match=r"optimized the file for the processor .*'extended' or lower"):
        imported(saved, tmp_path)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (fused("Attention", "t", "qkv.weight", "qkv.bias", num_heads=2, unidirectional=1), "unidirectional is set"),
        (fused("Attention", "t", "qkv.weight", "qkv.bias", "mask", num_heads=2), r"it takes a mask \('mask'\)"),
        (fused("BiasSplitGelu", "t", "qkv.bias"), "the operator is not standard ONNX"),
    ],
    ids=["one direction", "mask", "unknown"],
)
def test_other_forms_are_refused_by_name(entry: onnx.NodeProto, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperator, match=rf"com\.microsoft::{entry.op_type}.*{reason}"):
        imported(Network(entry.op_type, (entry,), PROJECTION | {"mask": np.ones((1, 9), np.int32)}).model(), tmp_path)
