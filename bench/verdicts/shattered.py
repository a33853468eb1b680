"""Input gradients along the straight path between two photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bench.harness.page import table
from bench.verdicts.corpus import SIZE, calibrate, convolutional
from bench.verdicts.judging import Images, shipped_bundles
from export.gradient import differentiate, prepare
from export.running.runs import in_onnxruntime
from export.trained.forward import constants_of, forward_graph
from service.contract.norms import measure
from service.diagnostics import shattering

DEPTHS = (20, 56, 110)
ENDS = (3, 11)
"""The two photographs, by their position."""


def shattering_of(graph: onnx.ModelProto, images: Images) -> shattering.PathMeasures:
    """Analyse the path by a graph that gives the input gradient."""
    run = in_onnxruntime(graph)
    path = shattering.straight_path(images[ENDS[0]], images[ENDS[1]], shattering.POINTS)
    feeds: dict[str, NDArray[Any]] = {"input": path, "label": np.zeros(len(path), np.int64)}
    outputs = measure(lambda scale: run({**feeds, "cotangent_scale": scale}), len(path))
    return shattering.analyse(outputs["input_gradient"].astype(np.float64))


def untrained_path(family: str, depth: int, images: Images) -> shattering.PathMeasures:
    """Analyse the path in He et al.'s network with BatchNorm at initialization."""
    torch.manual_seed(0)
    network = calibrate(convolutional(family, depth, "batch"), torch.from_numpy(images))
    prepared = prepare(forward_graph(network, SIZE), constants=constants_of(network))
    return shattering_of(differentiate(prepared, "input_gradient"), images)


def shattering_table(images: Images, deepest: int) -> str:
    """Return spectral exponents of untrained networks with BatchNorm and of the trained bundles."""
    found = {
        f"untrained {family} {depth}": untrained_path(family, depth, images)
        for family in ("plain", "residual")
        for depth in DEPTHS
        if depth <= deepest
    }
    for bundle, graphs in shipped_bundles():
        found[f"trained {bundle.name}"] = shattering_of(graphs["input_gradient"], images)
    rows = [
        f"{name} | {path.spectral_exponent:.2f} | {path.autocorrelation.mean[1]:.2f} "
        f"| {shattering.judge_path(path).state}"
        for name, path in found.items()
    ]
    return table("network | spectral exponent | autocorrelation at lag 1 | verdict", rows)
