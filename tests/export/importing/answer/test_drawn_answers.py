"""Drawn chains of operators behind drawn kinds of probabilities: the bundle gives the file's own answer, normalised."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto

from tests.export.importing.answer.endings import Ending, floats, ints, number
from tests.export.importing.answer.references import answers, bundled, session, shares, slopes, softmax
from tests.export.importing.graphs import images, node

Array = NDArray[Any]

STARTS = ("Softmax", "Exp", "by hand", "Sigmoid", "LogSoftmax")
STEPS = [
    *("factor", "quotient", "zero", "order", "less", "clip", "power", "root", "share", "L1"),
    *("several", "stack", "prior", "smoothing", "shape", "gate", "relu", "reciprocals"),
]


@dataclass
class Chain:
    """Nodes as they are drawn; `classes` are left of four."""

    draw: Any
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    classes: int = 4

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def number(self, low: float, high: float) -> str:
        return self.constant(number(self.draw(st.floats(low, high, width=32))))

    def vector(self, low: float, high: float) -> str:
        return self.constant(floats(*(self.draw(st.floats(low, high, width=32)) for _ in range(self.classes))))

    def start(self, scores: str) -> str:
        """Positive numbers out of scores."""
        kind = self.draw(st.sampled_from(STARTS))
        if kind == "by hand":
            axis = self.constant(ints(1))
            exponentials = self.op("Exp", self.op("Sub", scores, self.op("ReduceMax", scores, axis)))
            return self.op("Div", exponentials, self.op("ReduceSum", exponentials, axis))
        if kind == "LogSoftmax":
            return self.op("Exp", self.op("LogSoftmax", scores, axis=1))
        return self.op(kind, scores, **({"axis": 1} if kind == "Softmax" else {}))

    def others(self, width: int) -> str:
        weight = np.random.default_rng(len(self.nodes)).standard_normal((5, width)).astype(np.float32)
        return self.op("MatMul", "flat", self.constant(weight))

    def step(self, kind: str, p: str) -> str:
        """One change of the probabilities `p`, after which they are still positive."""
        match kind:
            case "factor":
                return self.op("Mul", self.number(0.125, 50), p)
            case "quotient":
                return self.op("Div", p, self.number(0.125, 50))
            case "zero":
                return self.op("Add", p, self.constant(number(0)))
            case "order":
                order = self.draw(st.permutations(range(self.classes)))
                return self.op("Gather", p, self.constant(ints(*order)), axis=1)
            case "less" if self.classes > 2:
                self.classes -= 1
                return self.op("Slice", p, *(self.constant(ints(n)) for n in (1, self.classes + 1, 1)))
            case "clip":
                bounds = self.draw(st.sampled_from([(0, 1), (1e-6, 1 - 1e-6), (0.01, 0.99)]))
                return self.op("Clip", p, *(self.constant(number(bound)) for bound in bounds))
            case "power":
                return self.op("Pow", p, self.number(0.25, 2))
            case "root":
                return self.op("Sqrt", p)
            case "share":
                return self.op("Div", p, self.op("ReduceSum", p, self.constant(ints(1))))
            case "L1":
                return self.op("LpNormalization", p, p=1, axis=1)
            case "several":
                operator = self.draw(st.sampled_from(["Mean", "Add", "Mul", "Max", "Min", "Sum"]))
                return self.op(operator, p, self.start(self.others(self.classes)))
            case "stack":
                axis = self.constant(ints(1))
                pair = [self.op("Unsqueeze", part, axis) for part in (p, self.start(self.others(self.classes)))]
                operator = self.draw(st.sampled_from(["ReduceMean", "ReduceSum"]))
                return self.op(operator, self.op("Concat", *pair, axis=1), axis, keepdims=0)
            case "prior":
                return self.op("Mul", p, self.vector(0.125, 1))
            case "smoothing":
                return self.op("Add", p, self.vector(2**-10, 0.125))
            case "shape":
                turned = self.op("Transpose", self.op("Unsqueeze", p, self.constant(ints(2))), perm=[0, 2, 1])
                return self.op("Squeeze", turned, self.constant(ints(1)))
            case "gate":
                return self.op("Mul", self.op("Sigmoid", self.others(1)), p)
            case "relu":
                return self.op("Relu", p)
            case "reciprocals":
                return self.op("Reciprocal", self.op("Reciprocal", p))
        return p


@st.composite
def endings(draw: Any) -> Ending:
    chain = Chain(draw)
    p = chain.start("scores")
    for kind in draw(st.lists(st.sampled_from(STEPS), max_size=5)):
        p = chain.step(kind, p)
    p = chain.step("share", p)  # several sigmoids alone would be labels of their own
    return Ending([*chain.nodes, node("Identity", [p], ["out"])], chain.constants, labels=chain.classes)


@given(endings())
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_drawn_probabilities_are_read_off_the_graph(tmp_path_factory: pytest.TempPathFactory, ending: Ending) -> None:
    folder: Path = tmp_path_factory.mktemp("drawn")
    bundle = bundled(ending, folder)
    assert not any("smaller" in note for note in bundle.notes), bundle.notes
    batch = images(3)
    own = shares(session(ending.model()).run(["out"], {"image": batch})[0])
    found = answers(folder, "weight_norms", batch)
    assert np.allclose(softmax(found["logits"]), own, atol=1e-5)
    expected = slopes(ending.model(), batch[:1].astype(np.float64), shares, ["conv.weight"])["conv.weight"]
    assert np.sqrt(found["weight_square"][0, 0]) == pytest.approx(expected, rel=2e-3, abs=1e-6)
