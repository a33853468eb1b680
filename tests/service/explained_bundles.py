"""Bundles with explanations: two convolutions over pictures of 16 × 16, exclusive classes or independent labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from export.importing.command import import_bundle
from tests.export.importing.graphs import classifier, node, options, saved

SIZE = 16
LABELS = ("ant", "bee", "cat", "dog")
MAPS = {"first": (16, 16), "second": (8, 8)}
"""Layer → height and width of its map."""


def write_explained(bundles: Path, name: str, *, independent: bool = False) -> None:
    """Import first (5 channels, 16 × 16), second (6 channels, 8 × 8), a mean over the positions, and head."""
    bundles.mkdir(exist_ok=True)
    draw = np.random.default_rng(3).standard_normal
    constants: dict[str, NDArray[Any]] = {
        "first.weight": draw((5, 3, 3, 3), dtype=np.float32) / 3,
        "first.bias": draw(5, dtype=np.float32) / 4,
        "second.weight": draw((6, 5, 3, 3), dtype=np.float32) / 3,
        "second.bias": draw(6, dtype=np.float32) / 4,
        "last.weight": draw((4, 6), dtype=np.float32) * 3,
        "last.bias": draw(4, dtype=np.float32),
    }
    nodes: list[NodeProto] = [
        node("Conv", ["image", "first.weight", "first.bias"], ["a"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], "relu_a"),
        node("Conv", ["b", "second.weight", "second.bias"], ["c"], "second", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], ["d"], "relu_c"),
        node("GlobalAveragePool", ["d"], ["e"], "pool"),
        node("Flatten", ["e"], ["f"], "flatten"),
        node("Gemm", ["f", "last.weight", "last.bias"], ["scores"], "last", transB=1),
    ]
    if independent:
        nodes.append(node("Sigmoid", ["scores"], ["out"], "sigmoid"))
    model = classifier(
        nodes, outputs=("out" if independent else "scores",), image=("N", 3, SIZE, SIZE), constants=constants
    )
    import_bundle(saved(model, bundles.parent), name, options(labels=LABELS), bundles)
