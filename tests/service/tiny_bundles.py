"""Bundles small enough to be written in a test: a linear classifier of the mean colour, made slow if wanted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LABELS = ("red", "green", "blue")

ENDLESS = 10**12
"""More rounds than any test waits for."""


def write_bundle(
    folder: Path,
    name: str = "tiny",
    *,
    version: str | None = None,
    size: int = 8,
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rounds: int = 0,
    fails_on_white: bool = False,
    too_many: int | None = None,
    hunger: int = 2**50,
    **overrides: Any,
) -> Path:
    """Write a bundle whose logits are 10 × the mean colour + `bias`, so that a red picture is "red".

    `rounds` matrix products are run besides, for a run that takes time and can be stopped between them: with `ENDLESS`
    it lasts until it is stopped. With `fails_on_white` the graph fails on a batch that holds a white picture, and for
    `too_many` pictures or more in a run it asks for `hunger` bytes at once: by default, more than there can be.
    """
    directory = folder / name / version if version else folder / name
    directory.mkdir(parents=True, exist_ok=True)
    forward = directory / "forward.onnx"
    onnx.save(_classifier(size, bias, rounds, fails_on_white, too_many, hunger), str(forward))
    description = {
        "name": name,
        "version": version or "1",
        "labels": LABELS,
        "input": {"height": size, "width": size, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        "architecture": {"family": "plain", "depth": 1},
        "layers": [
            {
                "name": "classifier", "operator": "Gemm", "depth": 1, "shape": (3, 3), "output_shape": (3,),
                "parameters": 9, "bias": True, "weight_norm": 17.32,
            }
        ],
        "graphs": {"forward": {"file": "forward.onnx", "inputs": ("input",), "outputs": ("logits",)}},
        "opset": 20,
        "producer": "test",
        "sha256": {"forward.onnx": hashlib.sha256(forward.read_bytes()).hexdigest()},
    } | overrides  # fmt: skip
    (directory / "bundle.json").write_text(json.dumps(description))
    return directory


def _classifier(
    size: int, bias: tuple[float, ...], rounds: int, fails_on_white: bool, too_many: int | None, hunger: int
) -> onnx.ModelProto:
    weight = numpy_helper.from_array((10 * np.eye(3)).astype(np.float32), "weight")
    constants = [weight, numpy_helper.from_array(np.array(bias, np.float32), "bias")]
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
    ]
    mean = "mean"
    if rounds:
        mean = _add_work(nodes, constants, rounds)
    if fails_on_white:
        mean = _add_refusal_of_white(nodes, constants, mean)
    if too_many is not None:
        mean = _add_hunger(nodes, constants, mean, too_many, hunger)
    nodes.append(helper.make_node("Gemm", [mean, "weight", "bias"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _add_work(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], rounds: int) -> str:
    """Add `rounds` products per image with a 256 × 256 permutation, so that nothing over- or underflows."""
    permutation = np.eye(256, dtype=np.float32)[::-1].copy()
    constants.append(numpy_helper.from_array(permutation, "permutation"))
    constants.append(numpy_helper.from_array(np.ones((1, 256, 256), np.float32), "ones"))
    constants.append(numpy_helper.from_array(np.array([1, 2], np.int64), "last_axes"))
    constants.append(numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "as_scalars"))
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "one_axis"))
    nodes.append(helper.make_node("ReduceMax", ["mean", "one_axis"], ["sums"], keepdims=1))
    nodes.append(helper.make_node("Reshape", ["sums", "as_scalars"], ["scalars"]))
    nodes.append(helper.make_node("Mul", ["scalars", "ones"], ["work_0"]))
    constants.append(numpy_helper.from_array(np.array(rounds, np.int64), "rounds"))
    nodes.append(helper.make_node("Loop", ["rounds", "", "work_0"], ["work_end"], body=_one_round()))
    constants.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    nodes.append(helper.make_node("ReduceMax", ["work_end", "last_axes"], ["peak"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["peak", "nothing"], ["no_peak"]))
    nodes.append(helper.make_node("Unsqueeze", ["no_peak", "one_axis"], ["no_peak_column"]))
    nodes.append(helper.make_node("Add", ["mean", "no_peak_column"], ["worked"]))
    return "worked"


def _one_round() -> onnx.GraphProto:
    """The body of a Loop that goes on to its last round: one product with `permutation`, which is outside."""
    last, permuted = "work", "permuted_work"
    return helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
            helper.make_node("MatMul", [last, "permutation"], [permuted]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", 256, 256]),
        ],
        [
            helper.make_tensor_value_info("goes_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info(permuted, TensorProto.FLOAT, ["N", 256, 256]),
        ],
    )


def _add_refusal_of_white(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], mean: str) -> str:
    """Add a Gather whose index is out of range if some picture's darkest channel is 1, that is, if it is white."""
    constants.append(numpy_helper.from_array(np.zeros(1, np.float32), "table"))
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "channel_axis"))
    constants.append(numpy_helper.from_array(np.array(0.999, np.float32), "almost_white"))
    nodes.append(helper.make_node("ReduceMin", [mean, "channel_axis"], ["darkest"], keepdims=1))
    nodes.append(helper.make_node("Greater", ["darkest", "almost_white"], ["white"]))
    nodes.append(helper.make_node("Cast", ["white"], ["white_index"], to=TensorProto.INT64))
    nodes.append(helper.make_node("Gather", ["table", "white_index"], ["nothing_for_white"]))
    nodes.append(helper.make_node("Add", [mean, "nothing_for_white"], ["checked"]))
    return "checked"


def _add_hunger(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], mean: str, too_many: int, hunger: int
) -> str:
    """Add a tensor of one byte, or of `hunger` bytes more for `too_many` pictures; no address space holds 2⁵⁰."""
    constants.append(numpy_helper.from_array(np.array([too_many], np.int64), "too_many"))
    constants.append(numpy_helper.from_array(np.array([hunger], np.int64), "hunger"))
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "one_byte"))
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "first_byte"))
    nodes.append(helper.make_node("Shape", [mean], ["pictures"], start=0, end=1))
    nodes.append(helper.make_node("GreaterOrEqual", ["pictures", "too_many"], ["are_too_many"]))
    nodes.append(helper.make_node("Cast", ["are_too_many"], ["zero_or_one"], to=TensorProto.INT64))
    nodes.append(helper.make_node("Mul", ["zero_or_one", "hunger"], ["more"]))
    nodes.append(helper.make_node("Add", ["more", "one_byte"], ["wanted"]))
    zero = helper.make_tensor("zero", TensorProto.UINT8, [1], [0])
    nodes.append(helper.make_node("ConstantOfShape", ["wanted"], ["bytes"], value=zero))
    nodes.append(helper.make_node("Gather", ["bytes", "first_byte"], ["byte"]))
    nodes.append(helper.make_node("Cast", ["byte"], ["nothing_for_bytes"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Add", [mean, "nothing_for_bytes"], ["fed"]))
    return "fed"
