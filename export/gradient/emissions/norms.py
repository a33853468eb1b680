"""Outputs of the backward pass: squared norms per sample, layer and parameter, and the input gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from export.gradient.context import Build
from export.gradient.emissions.table import emits
from export.gradient.norms.columns import Difference, Rows, differences, joined, square_sums, weighted_sums
from export.gradient.norms.layers import WeightedLayer
from export.gradient.norms.scales import scale_gradient
from export.gradient.rules.factors import Arrangement
from export.graph.graph import N, static
from export.graph.names import INPUT


@emits("activation_square")
def activation_square(build: Build) -> list[str]:
    """‖dL/dy‖² of every layer's own output y, [N, L]."""
    rows = []
    for layer in build.layers:
        with build.g.scope(layer.nodes[0].name):
            rows.append(_activation_squares_of(build, layer))
    return build.output("activation_square", weighted_sums(build.g, rows), (N, len(rows)))


def _activation_squares_of(build: Build, layer: WeightedLayer) -> tuple[str, np.ndarray]:
    """Squares, and the coefficients by which they sum to ‖dL/dy‖²; behind a folded normalization dL/dy = γ/σ·dL/dz."""
    g, dy, shape = build.g, build.gradients.tensors[layer.output], build.graph.shape(layer.output)
    if layer.output in build.graph.shared:
        shape = (N, *shape)
    norm = build.graph.folded.get(layer.operand)
    if norm is None and (len(shape) != 4 or shape[0] != N):
        flat = g.samples_first(g.mul(dy, dy), shape)
        return g.reduce_sum(flat, (1,), keepdims=True), np.ones(1)
    squares = np.square(norm.ratio) if norm else np.ones(static(shape[1:2]))
    return g.position_sum(g.mul(dy, dy), shape), squares


@emits("weight_square")
def weight_square(build: Build) -> list[str]:
    """‖dL/dW‖² of every layer, [N, L]."""
    return _weighted_rows(build, "weight_square", _unfolding)


@emits("scaled_square")
def scaled_square(build: Build) -> list[str]:
    """Σ_c ‖W_c‖²·‖dW_c‖² over output channels c of every layer, [N, L]."""
    return _weighted_rows(build, "scaled_square", _scaling)


def _weighted_rows(
    build: Build, name: str, coefficients: Callable[[Build, WeightedLayer, Arrangement], np.ndarray]
) -> list[str]:
    rows = []
    for layer in build.layers:
        with build.g.scope(layer.nodes[0].name):
            way = build.planner.plan(layer).way
            rows.append((way.row_squares(), coefficients(build, layer, way.arrangement)))
    return build.output(name, weighted_sums(build.g, rows), (N, len(rows)))


def _unfolding(build: Build, layer: WeightedLayer, arrangement: Arrangement) -> np.ndarray:
    """(γ/σ)² for every row, since dL/dW = γ/σ·dL/dW' for W' = γ/σ·W."""
    norm = build.graph.folded.get(layer.operand)
    return np.square(norm.ratio)[arrangement.channels] if norm else np.ones(arrangement.rows)


def _scaling(build: Build, layer: WeightedLayer, arrangement: Arrangement) -> np.ndarray:
    """‖W'_c‖² for every row of channel c; the product ‖W_c‖·‖dW_c‖ is the same folded or not."""
    weight = build.graph.constants[layer.operand].astype(np.float64)
    by_row = np.square(arrangement.matrix(weight)).sum(axis=1)
    by_channel = np.bincount(arrangement.channels, by_row)
    return by_channel[arrangement.channels]


@emits("batch_square")
def batch_square(build: Build) -> list[str]:
    """‖Σ_n dL_n/dW‖² of every layer, [L]."""
    entries = []
    for layer in build.layers:
        with build.g.scope(layer.nodes[0].name):
            way = build.planner.plan(layer).way
            coefficients = build.g.constant(_unfolding(build, layer, way.arrangement))
            weighted = build.g.mul(way.batch_row_squares(), coefficients)
            entries.append(build.g.reduce_sum(weighted, (0,), keepdims=True))
    return build.output("batch_square", build.g.op("Concat", *entries, axis=0), (len(entries),))


@emits("bias_square")
def bias_square(build: Build) -> list[str]:
    """‖dL/db‖² of every layer that has a bias, [N, biases]."""
    columns = []
    for layer in build.layers:
        if layer.bias is not None:
            norm = build.graph.folded.get(layer.operand)
            with build.g.scope(layer.nodes[0].name):
                if norm is None:
                    columns.append(build.parameter(layer.bias))
                else:
                    shift, size = build.parameter(norm.shift)
                    columns.append((build.g.mul(shift, build.g.constant(norm.ratio[None])), size))
    rows = joined(build.g, dict(enumerate(columns)))
    return _squares(build, "bias_square", rows, len(columns))


@emits("other_square")
def other_square(build: Build) -> list[str]:
    """‖dL/dp‖² of every parameter that is neither weight nor bias of a layer, [N, P]."""
    # No node reads a folded normalization's γ and β any more: both come from the layer that it was folded into.
    folded = {norm.gamma: operand for operand, norm in build.graph.folded.items()}
    shifts = {norm.beta: norm.shift for norm in build.graph.folded.values()}
    layers = {layer.operand: layer for layer in build.layers}
    plain: dict[int, tuple[str, int]] = {}
    scales: dict[int, Difference] = {}
    for column, source in enumerate(build.prepared.others):
        if source in folded:
            layer = layers[folded[source]]
            with build.g.scope(layer.nodes[0].name):
                shift, _ = build.parameter(build.graph.folded[layer.operand].shift)
                dz = build.gradients.tensors[layer.output]
                scales[column] = scale_gradient(build.g, layer, build.planner.plan(layer), dz, shift)
        else:
            plain[column] = build.parameter(shifts.get(source, source))
    rows = [*joined(build.g, plain), *differences(build.g, scales)]
    return _squares(build, "other_square", rows, len(plain) + len(scales))


def _squares(build: Build, name: str, rows: list[Rows], columns: int) -> list[str]:
    if not columns:
        return build.columns(name, [])
    return build.output(name, square_sums(build.g, rows), (N, columns))


@emits("input_gradient")
def input_gradient(build: Build) -> list[str]:
    """dL/dinput, of the input's shape."""
    return build.output("input_gradient", build.gradients.tensors[INPUT], build.graph.shape(INPUT))
