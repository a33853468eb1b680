"""A tiny int8 file whose rounding is so coarse that it and its float network now and then predict another class."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise
from tests.export.importing.answer.references import session, softmax
from tests.export.importing.graphs import body, classifier, node, options, weights

SPEC = InputSpec(height=6, width=6, mean=options().mean, std=options().std)


@cache
def bias() -> NDArray[np.float32]:
    """A bias of the head with which the classes are equally likely on average."""
    scores = session(classifier()).run(None, {"image": normalise(pixels(), SPEC)})[0]
    balanced: NDArray[np.float32] = weights()["head.bias"] - scores.mean(axis=0)
    return balanced


def without_integers() -> ModelProto:
    return classifier(constants={"head.bias": bias()})


def coarse(*behind: NodeProto) -> ModelProto:
    """Pooled features in steps of a half: another class wins now and then than without rounding.

    Nodes `behind` the scores make the output `out`.
    """
    nodes = body()
    nodes[4:4] = [
        node("QuantizeLinear", ["flat", "step", "nought"], ["q"]),
        node("DequantizeLinear", ["q", "step", "nought"], ["f"]),
    ]
    nodes[-1].input[0] = "f"
    step: dict[str, NDArray[Any]] = {"step": np.array(0.5, np.float32), "nought": np.array(3, np.uint8)}
    outputs = ("out",) if behind else ("scores",)
    return classifier([*nodes, *behind], outputs=outputs, constants={**step, "head.bias": bias()})


def pixels() -> NDArray[np.uint8]:
    draw = np.random.default_rng(4)
    noise, colours = draw.integers(0, 256, (40, 6, 6, 3)), draw.integers(0, 256, (40, 1, 1, 3))
    return ((noise + 3 * colours) // 4).astype(np.uint8)


def by_the_file() -> NDArray[Any]:
    """The file's own probabilities of the pictures."""
    return softmax(session(coarse()).run(None, {"image": normalise(pixels(), SPEC)})[0])


def without_rounding() -> NDArray[Any]:
    return softmax(session(without_integers()).run(None, {"image": normalise(pixels(), SPEC)})[0])


def pictures_that_differ(differ: bool) -> NDArray[np.uint8]:
    other = by_the_file().argmax(axis=1) != without_rounding().argmax(axis=1)
    chosen: NDArray[np.uint8] = pixels()[other == differ]
    return chosen
