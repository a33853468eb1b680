"""onnx-ad: ONNX → its gradients as ONNX, at a fixed batch.

It knows no loss, no layers and no samples. The loss is written behind the exporter's graph, the weights are promoted
to inputs for the derivation and made constants again after it, so that ONNX Runtime prepares them. The gradients are
those of the batch's sum; per-sample ones are a loop over samples at batch 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bench.gradients.peers import Norms, PeerRun
from bench.gradients.runs import Bound, session
from bench.gradients.subject import Subject


def input_gradient(subject: Subject) -> PeerRun:
    """Return a run of the input gradient alone, without a loss, of our forward graph: faster than of the exporter's."""
    file = subject.folder / f"onnx-ad-input-{subject.batch}.onnx"
    if not file.exists():
        onnx.save(_reversed(_at_batch(onnx.load(str(subject.graph("forward"))), subject.batch), ["input"]), str(file))
    run = session(file)
    seed = np.zeros((subject.batch, subject.classes, 1), dtype=np.float32)
    seed[:, 0] = 1
    bound = {value.name: seed for value in run.get_inputs()} | {"input": subject.feeds()["input"]}
    return Bound(run, bound, "cpu")


def weight_norms(subject: Subject) -> PeerRun:
    """Return a run of the norms [n, layers], sample by sample."""
    file = subject.folder / "onnx-ad-weights.onnx"
    weights = [f"{layer}.weight" for layer in subject.layers]
    if not file.exists():
        onnx.save(with_norms(subject.exported(), weights, subject.classes), str(file))
    run, feeds = session(file), subject.feeds()
    chosen = -np.eye(subject.classes, dtype=np.float32)[feeds["label"]]

    def norms() -> Norms:
        rows: list[list[NDArray[Any]]] = [
            run.run(None, {"input": feeds["input"][n : n + 1], "chosen": chosen[n : n + 1]})
            for n in range(subject.batch)
        ]
        result: Norms = np.sqrt(np.array(rows, dtype=np.float64))
        return result

    return norms


def with_norms(exported: onnx.ModelProto, weights: list[str], classes: int) -> onnx.ModelProto:
    """Return a graph of (`input` [1, …], `chosen` [1, classes], −1 at the label) that gives each ‖dW‖², a scalar."""
    model = _at_batch(exported, 1)
    graph = model.graph
    graph.node.extend(
        [
            helper.make_node("LogSoftmax", ["logits"], ["logarithms"], axis=1),
            helper.make_node("Mul", ["logarithms", "chosen"], ["losses"]),
            helper.make_node("ReduceSum", ["losses"], ["loss"], keepdims=0),
        ]
    )
    graph.input.append(helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1, classes]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("loss", TensorProto.FLOAT, []))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    promoted = {name: onnx.TensorProto.FromString(constants.pop(name).SerializeToString()) for name in weights}
    kept = list(constants.values())
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name, tensor in promoted.items():
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, tensor.dims))

    result = _reversed(model, weights)
    _keep(result.graph.input, ["input", "chosen"])
    seed = numpy_helper.from_array(np.ones(1, np.float32), "adj_loss")
    result.graph.initializer.extend([*promoted.values(), seed])
    del result.graph.output[:]
    for name in weights:
        square = f"{name}/square"
        result.graph.node.append(helper.make_node("Mul", [f"adj_{name}"] * 2, [f"{square}s"]))
        result.graph.node.append(helper.make_node("ReduceSum", [f"{square}s"], [square], keepdims=0))
        result.graph.output.append(helper.make_tensor_value_info(square, TensorProto.FLOAT, []))
    return result


def _reversed(model: onnx.ModelProto, inputs: list[str]) -> onnx.ModelProto:
    import onnx_ad

    outputs = [model.graph.output[0].name]
    result: onnx.ModelProto = onnx_ad.reverse(model, inputs=inputs, outputs=outputs, layout="onnx")
    return result


def _at_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return the graph at a fixed batch, with the shapes that onnx-ad asks for."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del fixed.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def _keep(values: Any, names: list[str]) -> None:
    kept = [value for value in values if value.name in names]
    del values[:]
    values.extend(kept)
