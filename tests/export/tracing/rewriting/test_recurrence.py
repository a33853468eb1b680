"""Classifiers with RNN, GRU and LSTM: every weight is one layer, with torch's norms one sample at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.gradient import Prepared, UnsupportedOperator, differentiate, prepare, to_float64
from export.importing import ImportedModel, ImportOptions, import_classifier
from export.running.reference import evaluate
from tests.export.gradient.cases.case import w
from tests.export.gradient.rules.runner import runtime

Array = NDArray[Any]
SIZE, CLASSES = 5, 3
OUTPUTS = ("logits", "weight_square", "other_square", "input_gradient")
LABEL = np.array([0, 2, 1])
OPTIONS = ImportOptions(labels=tuple("abc"), mean=(0.0,) * 3, std=(1.0,) * 3)
few = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Rows(nn.Module):
    """Reads an image row by row, and classifies the last state, or all of them."""

    def __init__(self, kind: str, *, both: bool = False, hidden: int = 4, every: bool = False) -> None:
        super().__init__()
        cell: Any = getattr(nn, kind)
        self.recurrence = cell(3 * SIZE, hidden, batch_first=True, bidirectional=both)
        self.every = every
        self.head = nn.Linear(hidden * (1 + both) * (SIZE if every else 1), CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        states, _ = self.recurrence(image.permute(0, 2, 1, 3).flatten(2))
        found: Tensor = self.head(states.flatten(1) if self.every else states[:, -1])
        return found


def exported(network: nn.Module, folder: Path) -> Path:
    path = folder / "model.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.onnx.export(
        network, (torch.randn(2, 3, SIZE, SIZE),), str(path), dynamo=False, opset_version=17,
        input_names=["image"], output_names=["scores"], dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
    )  # fmt: skip
    return path


def answers(model: ImportedModel, image: Array, precision: str) -> tuple[Prepared, dict[str, Array]]:
    in_double = precision == "float64"
    ready = prepare(to_float64(model.model) if in_double else model.model, constants=model.constants, logits=True)
    graph = differentiate(ready, OUTPUTS)
    feeds = {"input": image, "label": LABEL, "cotangent_scale": np.ones(len(image))}
    feeds = {name: value if name == "label" else value.astype(precision) for name, value in feeds.items()}
    if in_double:
        return ready, evaluate(graph, feeds)
    return ready, dict(zip(OUTPUTS, runtime(graph).run(OUTPUTS, feeds), strict=True))


def by_torch(network: nn.Module, image: Array) -> Iterator[tuple[dict[str, float], Array]]:
    """Return each sample's squared norms by kind of weight (`W`, `R`, `B`, `head`), and the input's gradient."""
    network = network.double()
    for sample, label in zip(image, LABEL, strict=True):
        given_image = torch.tensor(sample[None], dtype=torch.float64, requires_grad=True)
        network.zero_grad()
        nn.functional.cross_entropy(network(given_image), torch.tensor([int(label)])).backward()  # type: ignore[no-untyped-call]
        squares: dict[str, float] = dict.fromkeys(("W", "R", "B", "head"), 0.0)
        for name, parameter in network.named_parameters():
            kind = "W" if "weight_ih" in name else "R" if "weight_hh" in name else "B" if "bias_" in name else "head"
            if name != "head.bias":
                squares[kind] += float(parameter.grad.square().sum())  # type: ignore[union-attr]
        yield squares, given_image.grad[0].numpy()  # type: ignore[index]


def assert_agrees(network: nn.Module, folder: Path) -> None:
    image = np.random.default_rng(3).normal(size=(3, 3, SIZE, SIZE))
    model = import_classifier(exported(network, folder), OPTIONS)
    truths = list(by_torch(network, image))
    for precision, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        ready, found = answers(model, image, precision)
        assert [len(ready.layers), len(ready.other_parameters)] == [3, 1]
        assert ready.layers[0].uses == 1
        for sample, (squares, input_gradient) in enumerate(truths):
            scale = np.abs(input_gradient).max()
            np.testing.assert_allclose(
                found["input_gradient"][sample], input_gradient, rtol=tolerance, atol=tolerance * scale
            )
            ours = [*found["weight_square"][sample], *found["other_square"][sample]]
            assert sorted(ours) == pytest.approx(sorted(squares.values()), rel=tolerance)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both directions"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_norms_are_torch_s(kind: str, both: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    assert_agrees(Rows(kind, both=both), tmp_path)


@pytest.mark.filterwarnings("ignore")
@few
@given(kind=st.sampled_from(["RNN", "GRU", "LSTM"]), both=st.booleans(), hidden=st.integers(2, 6), every=st.booleans())
def test_any_width_and_use(
    kind: str, both: bool, hidden: int, every: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    torch.manual_seed(hidden)
    assert_agrees(Rows(kind, both=both, hidden=hidden, every=every), tmp_path_factory.mktemp("drawn"))


def written(operator: str, *inputs: str, constants: dict[str, Array], **attributes: Any) -> onnx.ModelProto:
    """A classifier of the last states of a recurrence over the rows [5, N, 15] of an image, and of all its states."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    hidden = attributes["hidden_size"] = 4
    stored = {
        "W": w(directions, gates * hidden, 15, low=-0.5, high=0.5),
        "R": w(directions, gates * hidden, hidden),
        "B": w(directions, 2 * gates * hidden),
        "rows": np.array([SIZE, -1, 15]),
        "flat": np.array([-1, SIZE * directions * hidden]),
        "head.weight": w(SIZE * directions * hidden, CLASSES),
        "last.weight": w(hidden, CLASSES),
        **constants,
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["rows first"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["rows first", "rows"], ["x"]),
        helper.make_node(operator, ["x", "W", "R", *inputs], ["states", "final"], "recurrence", **attributes),
        helper.make_node("Transpose", ["states"], ["samples first"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["samples first", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "head.weight"], ["of all"], "head"),
        helper.make_node("ReduceSum", ["final", "first"], ["total"], keepdims=0),
        helper.make_node("MatMul", ["total", "last.weight"], ["of last"], "last"),
        helper.make_node("Add", ["of all", "of last"], ["scores"]),
    ]
    stored["first"] = np.array([0])
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("RNN", ("B",), {}),
        ("RNN", (), {"activations": ["Relu"]}),
        ("GRU", ("B",), {"linear_before_reset": 1}),
        ("GRU", ("B",), {"linear_before_reset": 0}),
        ("GRU", (), {"linear_before_reset": 1}),
        ("LSTM", ("B",), {}),
        ("LSTM", (), {"activations": ["sigmoid", "Softsign", "Tanh"]}),
    ],
)
def test_every_form_answers_as_onnx_runtime(
    operator: str, inputs: tuple[str, ...], attributes: dict[str, Any], direction: str, tmp_path: Path
) -> None:
    """The same numbers as the operator itself gives, from a graph that holds none."""
    stated = dict(attributes, direction=direction)
    if direction == "bidirectional" and "activations" in stated:
        stated["activations"] = stated["activations"] * 2
    assert_answers_as_runtime(written(operator, *inputs, constants={}, **stated), tmp_path)


def assert_answers_as_runtime(model: onnx.ModelProto, folder: Path) -> None:
    path = folder / "model.onnx"
    onnx.save(model, path)
    image = np.random.default_rng(3).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    (own,) = runtime(model).run(None, {"image": image})
    ready, found = answers(import_classifier(path, OPTIONS), image, "float32")
    np.testing.assert_allclose(found["logits"], own, rtol=1e-4, atol=1e-5)
    assert {"W", "R", "head", "last"} == {layer.name for layer in ready.layers}


def test_lengths_of_whole_sequences_change_nothing(tmp_path: Path) -> None:
    model = written("LSTM", "B", "lengths", constants={"lengths": np.full(1, SIZE, np.int32)}, hidden_size=4)
    counted = [
        helper.make_node("Shape", ["x"], ["count"], start=1, end=2),
        helper.make_node("Expand", ["lengths", "count"], ["all lengths"]),
    ]
    nodes = list(model.graph.node)
    nodes[2].input[4] = "all lengths"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:2], *counted, *nodes[2:]])
    assert_answers_as_runtime(model, tmp_path)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"clip": 0.5}, "its attribute clip is not supported; export it without clip"),
        ({"activations": ["Sigmoid", "ScaledTanh", "Tanh"]}, "ScaledTanh, Tanh are not supported"),
    ],
    ids=["clip", "activation"],
)
def test_rare_forms_are_refused_by_name(attributes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(written("LSTM", "B", constants={}, **attributes), path)
    with pytest.raises(UnsupportedOperator, match=rf"LSTM \(node 'recurrence'\): .*{reason}"):
        import_classifier(path, OPTIONS)
