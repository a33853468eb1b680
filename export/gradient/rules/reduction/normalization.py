"""Normalization layers in inference mode."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import Array, N, Node, Shape, keep_clear_of_samples, static


@gradient("BatchNormalization", copies="rows")
def batch_normalization(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = γ·(x − μ)/σ + β with constant μ and σ: samples do not mix."""
    if node.attribute("training_mode", 0):
        raise g.refusal(node, "training mode mixes the samples", "export the model in evaluation mode")
    gamma, _, mean, variance = (g.constant_operand(node, index) for index in range(1, 5))
    inverse_sigma = 1.0 / np.sqrt(variance.astype(np.float64) + node.attribute("epsilon", 1e-5))
    shape = g.shape(node.inputs[0])

    def column(values: Array) -> str:
        return g.constant(values.reshape(-1, *[1] * (len(shape) - 2)))

    normalized = g.mul(g.op("Sub", node.inputs[0], column(mean)), column(inverse_sigma))
    by_channel = g.mul(dy, normalized)
    dgamma, dbeta = (g.position_sum(tensor, shape) for tensor in (by_channel, dy))
    return g.mul(dy, column(gamma * inverse_sigma)), PerSample(dgamma), PerSample(dbeta), None, None


@gradient("InstanceNormalization", copies="rows")
def instance_normalization(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = γ·x̂ + β with x̂ standardized over the positions of each channel of a sample."""
    shape = g.shape(node.inputs[0])
    axes = range(2, len(shape))
    normalized, inverse_sigma = _standardized(g, node.inputs[0], axes, node.attribute("epsilon", 1e-5))
    column = (static(shape[1:2])[0], *[1] * len(axes))
    scaled = g.mul(dy, g.reshape(node.inputs[1], column))
    return (
        _through_standardization(g, scaled, normalized, inverse_sigma, axes),
        _parameter(g, node.inputs[1], g.mul(dy, normalized), shape, column),
        _parameter(g, node.inputs[2], dy, shape, column),
    )


@gradient("LayerNormalization", broadcasts=True, copies="axis")
def layer_normalization(g: Emitter, node: Node, dy: str, *others: str | None) -> Sequence[Cotangent]:
    """y = γ·x̂ + β with x̂ standardized over the axes from `axis` to the last; γ and β are broadcast."""
    if any(others):
        raise g.refusal(node, "its mean or deviation is used further on", "normalize by primitive operators")
    shape = g.shape(node.inputs[0])
    axes = range(node.attribute("axis", -1) % len(shape), len(shape))
    keep_clear_of_samples(shape, axes)
    normalized, inverse_sigma = _standardized(g, node.inputs[0], axes, node.attribute("epsilon", 1e-5))
    dx = _through_standardization(g, g.mul(dy, node.inputs[1]), normalized, inverse_sigma, axes)
    return (dx, g.mul(dy, normalized), dy)[: len(node.inputs)]


@gradient("LpNormalization", copies="axis")
def lp_normalization(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = x/‖x‖ along one axis: dx = (dy − s·Σ dy·y)/‖x‖, s = y for p = 2 and sign x for p = 1; 0 where x is."""
    x, y, shape = node.inputs[0], node.outputs[0], g.shape(node.inputs[0])
    axes = (node.attribute("axis", -1) % len(shape),)
    keep_clear_of_samples(shape, axes)
    if node.attribute("p", 2) == 1:
        size, direction = g.reduce_sum(g.op("Abs", x), axes, keepdims=True), g.op("Sign", x)
    else:
        size, direction = g.op("Sqrt", g.square_sum(x, axes, keepdims=True)), y
    radial = g.mul(direction, g.reduce_sum(g.mul(dy, y), axes, keepdims=True))
    dx = g.op("Div", g.op("Sub", dy, radial), size)
    return (g.op("Where", g.op("Equal", size, g.scalar(0.0)), g.scalar(0.0), dx),)


@gradient("LRN")
def lrn(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = x·s⁻ᵝ, s = k + α/size·Σ x² over neighbouring channels; dx = dy·s⁻ᵝ − 2αβ/size·x·Σ' dy·y/s.

    Σ is the product with a constant band matrix over the channels, Σ' with its transpose.
    """
    x, y, shape = node.inputs[0], node.outputs[0], g.shape(node.inputs[0])
    channels, positions = static(shape[1:2])[0], math.prod(static(shape[2:]))
    size, beta = node.attribute("size"), node.attribute("beta", 0.75)
    rate = node.attribute("alpha", 1e-4) / size
    offset = np.arange(channels)[None] - np.arange(channels)[:, None]
    band = ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(np.float64)

    def neighbours(matrix: Array, tensor: str) -> str:
        rows = g.reshape(tensor, (shape[0], channels, positions))
        return g.reshape(g.op("MatMul", g.constant(matrix), rows), shape)

    s = g.add(neighbours(band * rate, g.mul(x, x)), g.scalar(node.attribute("bias", 1.0)))
    direct = g.mul(dy, g.op("Pow", s, g.scalar(-beta)))
    crossed = g.mul(x, neighbours(band.T * (2.0 * beta * rate), g.mul(dy, g.op("Div", y, s))))
    return (g.op("Sub", direct, crossed),)


def _standardized(g: Emitter, x: str, axes: Sequence[int], epsilon: float) -> tuple[str, str]:
    """x̂ = (x − mean)/σ over `axes`, and 1/σ."""
    centred = g.op("Sub", x, g.op("ReduceMean", x, g.ints(axes), keepdims=1))
    variance = g.op("ReduceMean", g.mul(centred, centred), g.ints(axes), keepdims=1)
    inverse_sigma = g.op("Reciprocal", g.op("Sqrt", g.add(variance, g.scalar(epsilon))))
    return g.mul(centred, inverse_sigma), inverse_sigma


def _through_standardization(g: Emitter, dy: str, normalized: str, inverse_sigma: str, axes: Sequence[int]) -> str:
    """dx = (dy − mean dy − x̂·mean(dy·x̂))/σ."""
    mean = g.op("ReduceMean", dy, g.ints(axes), keepdims=1)
    along = g.op("ReduceMean", g.mul(dy, normalized), g.ints(axes), keepdims=1)
    return g.mul(g.op("Sub", g.op("Sub", dy, mean), g.mul(normalized, along)), inverse_sigma)


def _parameter(g: Emitter, operand: str, gradient: str, shape: Shape, column: Sequence[int]) -> Cotangent:
    """The per-sample gradient of a constant [C] that was laid along a tensor as `column`."""
    if g.value(operand) is None:
        return None
    reduced = g.unbroadcast_per_sample(gradient, shape, column)
    return PerSample(g.reshape(reduced, (N, *static(g.shape(operand)))))
