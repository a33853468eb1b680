"""Input gradients along the straight path between two photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bench.bundles.networks import settled
from bench.harness.page import table
from bench.verdicts.corpus import SIZE, convolutional
from bench.verdicts.judging import Images, shipped_bundles
from export.gradient import differentiate, prepare
from export.running.runs import in_onnxruntime
from export.trained.forward import constants_of, forward_graph
from service.contract.norms import measure
from service.diagnostics.shattering.measures import PathMeasures, analyse
from service.diagnostics.shattering.path import straight_path
from service.diagnostics.shattering.points import POINTS
from service.diagnostics.shattering.verdict import judge_path

DEPTHS = (20, 56, 110)
ENDS = (3, 11)
"""The two photographs, by their position."""


def shattering_of(graph: onnx.ModelProto, images: Images) -> PathMeasures:
    """Analyse the path between `ENDS` by a graph that gives the input gradient."""
    return path_measures(graph, images, ENDS, POINTS)


def path_measures(graph: onnx.ModelProto, images: Images, ends: tuple[int, int], points: int) -> PathMeasures:
    """Analyse a path of so many points between two images, by a graph that gives the input gradient."""
    run = in_onnxruntime(graph)
    path = straight_path(images[ends[0]], images[ends[1]], points)
    feeds: dict[str, NDArray[Any]] = {"input": path, "label": np.zeros(len(path), np.int64)}
    outputs = measure(lambda scale: run({**feeds, "cotangent_scale": scale}), len(path))
    return analyse(outputs["input_gradient"].astype(np.float64))


def untrained_path(family: str, depth: int, images: Images) -> PathMeasures:
    """Analyse the path in He et al.'s network with BatchNorm at initialization."""
    return shattering_of(untrained_graph(family, depth, images), images)


def untrained_graph(family: str, depth: int, images: Images, seed: int = 0) -> onnx.ModelProto:
    """Return the graph of the input gradient of He et al.'s network with BatchNorm at initialization."""
    torch.manual_seed(seed)
    network = settled(convolutional(family, depth, "batch"), torch.from_numpy(images))
    prepared = prepare(forward_graph(network, SIZE), constants=constants_of(network))
    return differentiate(prepared, "input_gradient")


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
        f"{name} | {path.spectral_exponent:.2f} | {path.autocorrelation.mean[1]:.2f} | {judge_path(path).state}"
        for name, path in found.items()
    ]
    return table("network | spectral exponent | autocorrelation at lag 1 | verdict", rows)
