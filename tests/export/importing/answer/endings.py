"""Ways in which files answer probabilities, node by node behind `body`: `scores` [N, 4] → `out`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.export.importing.graphs import body, classifier, node

Array = NDArray[Any]


@dataclass(frozen=True)
class Ending:
    """`nodes` behind the scores, the constants they read and the number of labels that come out."""

    nodes: list[NodeProto]
    constants: dict[str, Array] = field(default_factory=dict)
    labels: int = 4
    opset: int = 20
    outputs: tuple[str, ...] = ("out",)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple("abcdef"[: self.labels])

    def model(self, sharpness: float = 1.0) -> ModelProto:
        """The classifier; its scores are larger the larger `sharpness`."""
        model = classifier([*body(), *self.nodes], constants=self.constants, outputs=self.outputs, opset=self.opset)
        for tensor in model.graph.initializer:
            if tensor.name.startswith("head."):
                value = np.frombuffer(tensor.raw_data, np.float32) * np.float32(sharpness)
                tensor.raw_data = value.tobytes()
        return model


def ints(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def floats(*values: float) -> Array:
    return np.array(values, dtype=np.float32)


def number(value: float) -> Array:
    return np.array(value, dtype=np.float32)


AXIS = {"axis": ints(1)}
SOFTMAX = node("Softmax", ["scores"], ["p"], axis=1)
SECOND = np.random.default_rng(5).standard_normal((5, 4), dtype=np.float32)
ONE = np.random.default_rng(6).standard_normal((5, 1), dtype=np.float32)
TWO_SOFTMAXES = [SOFTMAX, node("MatMul", ["flat", "second"], ["others"]), node("Softmax", ["others"], ["q"])]
ONE_SCORE = node("MatMul", ["flat", "one"], ["score"])
STOCHASTIC = floats(*range(1, 17)).reshape(4, 4) / floats(*range(1, 17)).reshape(4, 4).sum(1, keepdims=True)


def normalised(numerator: str) -> list[NodeProto]:
    return [node("ReduceSum", [numerator, "axis"], ["sum"], keepdims=1), node("Div", [numerator, "sum"], ["out"])]


def behind(operator: str, *operands: str, **attributes: Any) -> list[NodeProto]:
    """A Softmax and one node behind it."""
    return [SOFTMAX, node(operator, ["p", *operands], ["out"], **attributes)]


def branch(nodes: list[NodeProto]) -> list[NodeProto]:
    """`nodes`, whose result is `inner`, where `yes`, and the scores elsewhere."""
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("inner", "outer")]
    taken = helper.make_graph(nodes, "then", [], made[:1])
    other = helper.make_graph([node("Identity", ["scores"], ["outer"])], "else", [], made[1:])
    return [node("If", ["yes"], ["out"], then_branch=taken, else_branch=other)]


READ_OFF = {
    "softmax": Ending([node("Softmax", ["scores"], ["out"])]),
    "by hand": Ending([node("Exp", ["scores"], ["e"]), *normalised("e")], AXIS),
    "by hand, stabilised": Ending(
        [
            node("ReduceMax", ["scores", "axis"], ["largest"]),
            node("Sub", ["scores", "largest"], ["shifted"]),
            node("Exp", ["shifted"], ["e"]),
            *normalised("e"),
        ],
        AXIS,
    ),
    "by hand, with reciprocal": Ending(
        [
            node("Exp", ["scores"], ["e"]),
            node("ReduceSum", ["e", "axis"], ["sum"]),
            node("Reciprocal", ["sum"], ["share"]),
            node("Mul", ["share", "e"], ["out"]),
        ],
        AXIS,
    ),
    "L1-normalised exponentials": Ending(
        [node("Exp", ["scores"], ["e"]), node("LpNormalization", ["e"], ["out"], p=1, axis=1)]
    ),
    "clipped beyond 0 and 1": Ending(behind("Clip", "low", "high"), {"low": number(0), "high": number(1)}),
    "relu": Ending(behind("Relu")),
    "reordered": Ending(behind("Gather", "order", axis=1), {"order": ints(2, 0, 3, 1)}),
    "some classes": Ending(behind("Gather", "order", axis=1), {"order": ints(3, 1, 2)}, labels=3),
    "without the first class": Ending(behind("Slice", "one", "end", "one"), {"one": ints(1), "end": ints(9)}, labels=3),
    "split": Ending(
        [SOFTMAX, node("Split", ["p", "sizes"], ["background", "out"], axis=1)], {"sizes": ints(1, 3)}, labels=3
    ),
    "no less than zero": Ending(behind("Max", "zero"), {"zero": number(0)}),
    "a factor before": Ending([SOFTMAX, node("Mul", ["hundred", "p"], ["out"])], {"hundred": number(100)}),
    "mean with a zero": Ending(
        [*TWO_SOFTMAXES, node("Mean", ["p", "zero"], ["half"]), node("Add", ["half", "q"], ["out"])],
        {"second": SECOND, "zero": floats(0, 0, 0, 0)},
    ),
    "percent": Ending(behind("Mul", "hundred"), {"hundred": number(100)}),
    "divided": Ending(behind("Div", "half"), {"half": number(0.5)}),
    "weighted classes": Ending(behind("Mul", "prior"), {"prior": floats(0.1, 0.2, 0.3, 0.4)}),
    "plus zero": Ending(behind("Add", "zero"), {"zero": number(0)}),
    "minus zeros": Ending(behind("Sub", "zeros"), {"zeros": floats(0, 0, 0, 0)}),
    "smoothed": Ending(
        [*behind("Mul", "most")[:1], node("Mul", ["p", "most"], ["m"]), node("Add", ["m", "rest"], ["out"])],
        {"most": number(0.9), "rest": number(0.025)},
    ),
    "mean of two": Ending([*TWO_SOFTMAXES, node("Mean", ["p", "q"], ["out"])], {"second": SECOND}),
    "sum of two, halved": Ending(
        [*TWO_SOFTMAXES, node("Add", ["p", "q"], ["both"]), node("Mul", ["both", "half"], ["out"])],
        {"second": SECOND, "half": number(0.5)},
    ),
    "weighted sum of two": Ending(
        [
            *TWO_SOFTMAXES,
            node("Mul", ["p", "third"], ["a"]),
            node("Mul", ["q", "thirds"], ["b"]),
            node("Sum", ["a", "b"], ["out"]),
        ],
        {"second": SECOND, "third": number(1 / 3), "thirds": number(2 / 3)},
    ),
    "stack of two": Ending(
        [
            *TWO_SOFTMAXES,
            node("Unsqueeze", ["p", "axis"], ["p1"]),
            node("Unsqueeze", ["q", "axis"], ["q1"]),
            node("Concat", ["p1", "q1"], ["stack"], axis=1),
            node("ReduceMean", ["stack", "axis"], ["out"], keepdims=0),
        ],
        {"second": SECOND, **AXIS},
    ),
    "exponential of log-softmax": Ending([node("LogSoftmax", ["scores"], ["l"]), node("Exp", ["l"], ["out"])]),
    "exponential": Ending([node("Exp", ["scores"], ["out"])]),
    "sigmoid, normalised": Ending([node("Sigmoid", ["scores"], ["s"]), *normalised("s")], AXIS),
    "temperature": Ending(
        [SOFTMAX, node("Pow", ["p", "half"], ["s"]), *normalised("s")], {**AXIS, "half": number(0.5)}
    ),
    "square root": Ending([SOFTMAX, node("Sqrt", ["p"], ["s"]), *normalised("s")], AXIS),
    "1 - p beside p": Ending(
        [
            ONE_SCORE,
            node("Sigmoid", ["score"], ["p"]),
            node("Sub", ["unit", "p"], ["other"]),
            node("Concat", ["other", "p"], ["out"], axis=1),
        ],
        {"one": ONE, "unit": number(1)},
        labels=2,
    ),
    "one sigmoid": Ending([ONE_SCORE, node("Sigmoid", ["score"], ["out"])], {"one": ONE}, labels=2),
    "one sigmoid, no axis": Ending(
        [ONE_SCORE, node("Sigmoid", ["score"], ["p"]), node("Squeeze", ["p", "axis"], ["out"])],
        {"one": ONE, **AXIS},
        labels=2,
    ),
    "groups and their members": Ending(
        [
            node("Reshape", ["scores", "grouped"], ["members"]),
            node("Softmax", ["members"], ["within"], axis=2),
            node("ReduceMax", ["members", "two"], ["group"], keepdims=1),
            node("Softmax", ["group"], ["between"], axis=1),
            node("Mul", ["between", "within"], ["product"]),
            node("Flatten", ["product"], ["out"]),
        ],
        {"grouped": ints(-1, 2, 2), "two": ints(2)},
    ),
    "trailing axes of one": Ending(
        [
            node("Unsqueeze", ["scores", "trailing"], ["wide"]),
            node("Softmax", ["wide"], ["p"], axis=1),
            node("Squeeze", ["p", "last"], ["less"]),
            node("Add", ["less", "zero"], ["sum"]),
            node("Transpose", ["sum"], ["turned"], perm=[0, 2, 1]),
            node("Identity", ["turned"], ["out"]),
        ],
        {"trailing": ints(2, 3), "last": ints(3), "zero": number(0)},
    ),
    "cast and reshaped": Ending(
        [
            SOFTMAX,
            node("Cast", ["p"], ["c"], to=TensorProto.FLOAT),
            node("Reshape", ["c", "shape"], ["d"]),
            node("Dropout", ["d"], ["out"]),
        ],
        {"shape": ints(-1, 4)},
    ),
    "softmax of a branch": Ending(branch([node("Softmax", ["scores"], ["inner"])]), {"yes": np.array(True)}),
    "softmax twice": Ending([SOFTMAX, node("Softmax", ["p"], ["out"])]),
    "second output": Ending([node("Softmax", ["scores"], ["out"])], outputs=("scores", "out")),
}
"""Endings whose logits are derived from the graph."""

CLIPPED = {
    "clipped": Ending(behind("Clip", "low", "high"), {"low": number(1e-6), "high": number(1 - 1e-6)}),
    "clipped so that the sum varies": Ending(behind("Clip", "low", "high"), {"low": number(0.2), "high": number(0.9)}),
    "masked": Ending(behind("Mul", "mask"), {"mask": floats(1, 1, 0, 1)}),
    "small ones left out": Ending(
        [
            SOFTMAX,
            node("Greater", ["p", "little"], ["large"]),
            node("Where", ["large", "p", "zero"], ["out"]),
        ],
        {"little": number(0.01), "zero": number(0)},
    ),
    "largest of a stack": Ending(
        [
            *TWO_SOFTMAXES,
            node("Unsqueeze", ["p", "axis"], ["p1"]),
            node("Unsqueeze", ["q", "axis"], ["q1"]),
            node("Concat", ["p1", "q1"], ["stack"], axis=1),
            node("ReduceMax", ["stack", "axis"], ["out"], keepdims=0),
        ],
        {"second": SECOND, **AXIS},
    ),
    "at least": Ending(behind("Max", "low"), {"low": number(1e-6)}),
    "and a little": Ending(behind("Add", "little"), {"little": number(1e-6)}),
    "L1-normalised, clipped": Ending(
        [
            node("Exp", ["scores"], ["e"]),
            node("LpNormalization", ["e"], ["p"], p=1, axis=1),
            node("Clip", ["p", "low"], ["out"]),
        ],
        {"low": number(0.1)},
    ),
    "exponentials, clipped": Ending(
        [
            node("Exp", ["scores"], ["e"]),
            *normalised("e")[:1],
            node("Div", ["e", "sum"], ["p"]),
            node("Clip", ["p", "low"], ["out"]),
        ],
        {**AXIS, "low": number(1e-6)},
    ),
}
"""Endings with bounds, beyond which there is no gradient; these are derived from the graph too."""

FROM_NUMBERS = {
    "mixed": Ending(behind("MatMul", "mixing"), {"mixing": STOCHASTIC}),
    "softplus, normalised": Ending([node("Softplus", ["scores"], ["s"]), *normalised("s")], AXIS),
    "squares, in percent": Ending(
        [
            node("Mul", ["scores", "scores"], ["s"]),
            node("ReduceSum", ["s", "axis"], ["sum"], keepdims=1),
            node("Div", ["s", "sum"], ["share"]),
            node("Mul", ["share", "hundred"], ["out"]),
        ],
        {**AXIS, "hundred": number(100)},
    ),
    "halved within a branch": Ending(
        branch([node("Mul", ["scores", "half"], ["halved"]), node("Softmax", ["halved"], ["inner"])]),
        {"yes": np.array(True), "half": number(0.5)},
    ),
    "one sigmoid by hand": Ending(
        [
            ONE_SCORE,
            node("Neg", ["score"], ["minus"]),
            node("Exp", ["minus"], ["e"]),
            node("Add", ["e", "unit"], ["sum"]),
            node("Reciprocal", ["sum"], ["out"]),
        ],
        {"one": ONE, "unit": number(1)},
        labels=2,
    ),
}
"""Endings whose numbers show that they are probabilities, whose logarithm is then taken."""

LOGARITHMS = {
    "log-softmax": Ending([node("LogSoftmax", ["scores"], ["out"])]),
    "logarithm of softmax": Ending(behind("Log")),
    "logarithm of clipped softmax": Ending(
        [*behind("Clip", "low", "high")[:1], node("Clip", ["p", "low"], ["c"]), node("Log", ["c"], ["out"])],
        {"low": number(1e-6)},
    ),
    "log-softmax, reordered": Ending(
        [node("LogSoftmax", ["scores"], ["l"]), node("Gather", ["l", "order"], ["out"], axis=1)],
        {"order": ints(2, 0, 3, 1)},
    ),
    "logits": Ending([node("Mul", ["scores", "half"], ["out"])], {"half": number(0.5)}),
    "log-softmax beside other axes": Ending(
        [
            node("Unsqueeze", ["scores", "trailing"], ["wide"]),
            node("LogSoftmax", ["wide"], ["l"], axis=1),
            node("Squeeze", ["l", "trailing"], ["out"]),
        ],
        {"trailing": ints(2, 3)},
    ),
    "by ReduceLogSumExp": Ending(
        [node("ReduceLogSumExp", ["scores", "axis"], ["total"]), node("Sub", ["scores", "total"], ["out"])], AXIS
    ),
    "rectified": Ending([node("Relu", ["scores"], ["out"])]),
}
"""Answers whose softmax is what /predict gives."""
