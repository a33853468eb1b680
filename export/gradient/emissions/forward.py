"""Outputs that the forward pass alone gives: logits, features, statistics of the activations, maps."""

from __future__ import annotations

import numpy as np

from export.gradient.context import Build
from export.gradient.emissions.table import emits
from export.gradient.norms.columns import zeros
from export.gradient.norms.layers import WeightedLayer
from export.gradient.prepare import features_tensor
from export.graph.graph import N, Shape, per_sample_size, static
from export.graph.names import LOGITS


@emits("logits")
def logits(_: Build) -> list[str]:
    """The classifier's own output, [N, K]."""
    return [LOGITS]


@emits("features")
def features(build: Build) -> list[str]:
    """The input of the last linear layer, [N, D]; none where the classifier ends otherwise."""
    if build.prepared.features is None:
        return []
    return build.output("features", features_tensor(build.prepared), (N, build.prepared.features))


def _flat_output(build: Build, layer: WeightedLayer) -> str:
    """The layer's own output y, [N, entries]; behind a folded normalization y = (z − b')·σ/γ + b."""
    g, (tensor, shape) = build.g, build.by_sample(layer.output)
    norm = build.graph.folded.get(layer.operand)
    if norm is not None:
        column = (-1, *[1] * (len(shape) - 2))
        shift = build.graph.constants[norm.shift].astype(np.float64)
        scale, bias = 1.0 / norm.ratio, norm.bias_value
        tensor = g.mul(tensor, g.constant(scale.reshape(column)))
        tensor = g.add(tensor, g.constant((bias - shift * scale).reshape(column)))
    return g.samples_first(tensor, shape)


@emits("activation_mean")
def activation_mean(build: Build) -> list[str]:
    """The mean of every layer's own output, [N, L]."""
    columns = []
    for layer in build.layers:
        with build.g.scope(layer.nodes[0].name):
            columns.append(_mean(build, _flat_output(build, layer)))
    return build.columns("activation_mean", columns)


@emits("activation_variance")
def activation_variance(build: Build) -> list[str]:
    """The variance of every layer's own output, [N, L]."""
    columns = []
    for layer in build.layers:
        with build.g.scope(layer.nodes[0].name):
            flat = _flat_output(build, layer)
            centred = build.g.op("Sub", flat, _mean(build, flat))
            columns.append(_mean(build, build.g.mul(centred, centred)))
    return build.columns("activation_variance", columns)


@emits("activation_zero_share")
def activation_zero_share(build: Build) -> list[str]:
    """The share of zeros in the output of every layer's rectifier, [N, L]; 0 where a layer has none."""
    g, columns = build.g, []
    for layer in build.layers:
        with g.scope(layer.nodes[0].name):
            if layer.rectifier is None:
                columns.append(zeros(g))
                continue
            flat = g.samples_first(*build.by_sample(layer.rectifier.outputs[0]))
            zero = g.op("Where", g.op("Equal", flat, g.scalar(0.0)), g.scalar(1.0), g.scalar(0.0))
            columns.append(_mean(build, zero))
    return build.columns("activation_zero_share", columns)


@emits("channel_peak")
def channel_peak(build: Build) -> list[str]:
    """The largest value of every rectified channel, [N, C]."""
    g, columns, total = build.g, [], 0
    for layer, record in zip(build.layers, build.prepared.layers, strict=True):
        if layer.rectifier is None:
            continue
        with g.scope(layer.nodes[0].name):
            output, shape = build.by_sample(layer.rectifier.outputs[0])
            axis = build.channel_axis(layer)
            if shape[0] == N:
                axes = [other for other in range(1, len(shape)) if other != axis]
            else:
                output, axes = g.channels_second(output, shape, axis), [2]
            columns.append(g.op("ReduceMax", output, g.ints(axes), keepdims=0) if axes else output)
            total += record.channels
    return build.columns("channel_peak", columns, total)


@emits("map")
def maps(build: Build) -> list[str]:
    """Every layer's output, behind its rectifier where it has one: [N, channels, height, width] each."""
    outputs: list[str] = []
    for layer, record in zip(build.layers, build.prepared.layers, strict=True):
        tensor = layer.rectifier.outputs[0] if layer.rectifier else layer.output
        with build.g.scope(layer.nodes[0].name):
            outputs += build.output(f"map/{record.name}", *_map(build, layer, tensor))
    return outputs


def _map(build: Build, layer: WeightedLayer, tensor: str) -> tuple[str, Shape]:
    """Shape a layer's output as a map. [N, C] and [N, tokens, C] get the axes that they lack, of size 1.

    The rows of a sample that has several (windows, heads) lie below each other: [N, C, rows · h, w].
    """
    g, axis = build.g, build.channel_axis(layer)
    tensor, shape = build.by_sample(tensor)
    if shape[0] == N and len(shape) == 4 and axis == 1:
        return tensor, shape
    if shape[0] == N and len(shape) == 2:
        return g.reshape(tensor, (*shape, 1, 1)), (*shape, 1, 1)
    channels, width = static((shape[axis], shape[3 if axis == 1 else 2] if len(shape) == 4 else 1))
    full: Shape = (N, channels, per_sample_size(shape) // (channels * width), width)
    return g.reshape(g.channels_second(tensor, shape, axis), full), full


def _mean(build: Build, flat: str) -> str:
    return build.g.op("ReduceMean", flat, build.g.ints([1]), keepdims=1)
