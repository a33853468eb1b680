"""Activation functions: y = f(x) element by element, dx = dy·f'(x)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import Node, keep_clear_of_samples, static


@gradient("Relu", copies="entrywise")
def relu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx is dy where y > 0, else 0; that is read off the output, so that the runtime can still fuse Conv and Relu."""
    return (g.op("Where", _above(g, node.outputs[0], 0.0), dy, g.scalar(0.0)),)


@gradient("Sigmoid", copies="entrywise")
def sigmoid(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """σ' = e/(1 + e)²; σ·(1 − σ) says the same but cancels to 0 where the unit saturates."""
    return (g.mul(dy, _logistic_slope(g, node.inputs[0])),)


@gradient("Tanh", copies="entrywise")
def tanh(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """tanh' = 4·σ'(2x); 1 − tanh² says the same but cancels to 0 where the unit saturates."""
    slope = _logistic_slope(g, g.mul(node.inputs[0], g.scalar(2.0)))
    return (g.mul(dy, g.mul(slope, g.scalar(4.0))),)


@gradient("LeakyRelu", copies="entrywise")
def leaky_relu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y' is 1 above 0, α elsewhere."""
    return (_piecewise(g, node, dy, g.mul(dy, g.scalar(node.attribute("alpha", 0.01)))),)


@gradient("PRelu")
def prelu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """LeakyRelu with a trained slope: dslope = dy·min(x, 0), summed where the slope is repeated."""
    x, slope = node.inputs
    dx = _piecewise(g, node, dy, g.mul(dy, slope))
    dslope = g.mul(dy, g.op("Where", _above(g, x, 0.0), g.scalar(0.0), x))
    shape = g.shape(x)
    if g.value(slope) is None:
        return dx, g.unbroadcast(dslope, shape, g.shape(slope))
    return dx, PerSample(g.unbroadcast_per_sample(dslope, shape, static(g.shape(slope))))


@gradient("ThresholdedRelu")
def thresholded_relu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y' is 1 above α, 0 elsewhere."""
    above = _above(g, node.inputs[0], node.attribute("alpha", 1.0))
    return (g.op("Where", above, dy, g.scalar(0.0)),)


@gradient("Elu", copies="entrywise")
def elu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y' is α·eˣ below 0, 1 above; y + α says the same but cancels to 0 where the unit saturates."""
    slope = g.mul(g.op("Exp", node.inputs[0]), g.scalar(node.attribute("alpha", 1.0)))
    return (_piecewise(g, node, dy, g.mul(dy, slope)),)


@gradient("Selu", copies="entrywise")
def selu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y' is γ above 0, γ·α·eˣ below."""
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    gamma = node.attribute("gamma", 1.05070102214813232421875)
    scaled = g.mul(dy, g.scalar(gamma))
    slope = g.mul(g.op("Exp", node.inputs[0]), g.scalar(alpha))
    return (_piecewise(g, node, scaled, g.mul(scaled, slope)),)


@gradient("Clip", copies="entrywise")
def clip(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y' is 1 strictly between the bounds, as for torch's ReLU6; read off the output, so that the runtime can fuse."""
    y = node.outputs[0]
    low, high = (g.constant_operand(node, index) for index in (1, 2))
    if low is not None:
        dy = g.op("Where", _above(g, y, float(low)), dy, g.scalar(0.0))
    if high is not None:
        dy = g.op("Where", g.op("Less", y, g.scalar(float(high))), dy, g.scalar(0.0))
    return dy, *([None] * (len(node.inputs) - 1))


@gradient("HardSigmoid", copies="entrywise")
def hard_sigmoid(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y' is α where 0 < y < 1, 0 elsewhere."""
    y = node.outputs[0]
    inside = g.op("And", _above(g, y, 0.0), g.op("Less", y, g.scalar(1.0)))
    return (g.op("Where", inside, g.mul(dy, g.scalar(node.attribute("alpha", 0.2))), g.scalar(0.0)),)


@gradient("HardSwish", copies="entrywise")
def hard_swish(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = x·clip(x/6 + ½, 0, 1): y' is x/3 + ½ where |x| < 3, and 0 or 1 beyond."""
    x = node.inputs[0]
    inside = g.op("Less", g.op("Abs", x), g.scalar(3.0))
    slope = g.add(g.mul(x, g.scalar(1.0 / 3.0)), g.scalar(0.5))
    beyond = g.op("Clip", x, g.scalar(0.0), g.scalar(1.0))  # 0 or 1 wherever it is taken
    return (g.mul(dy, g.op("Where", inside, slope, beyond)),)


@gradient("Softplus", copies="entrywise")
def softplus(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = ln(1 + eˣ): y' = σ(x), which ONNX Runtime's own Sigmoid gives to two digits only at −12."""
    x = node.inputs[0]
    e = _decay(g, x)
    sigma = g.op("Div", g.op("Where", _above(g, x, 0.0), g.scalar(1.0), e), g.add(e, g.scalar(1.0)))
    return (g.mul(dy, sigma),)


@gradient("Softsign", copies="entrywise")
def softsign(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = x/(1 + |x|): y' = 1/(1 + |x|)²."""
    base = g.add(g.op("Abs", node.inputs[0]), g.scalar(1.0))
    return (g.op("Div", dy, g.mul(base, base)),)


@gradient("Mish", copies="entrywise")
def mish(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = x·t with t = tanh(ln(1 + eˣ)): y' = t + x·σ(x)·(1 − t²)."""
    x = node.inputs[0]
    t = g.op("Tanh", g.op("Softplus", x))
    bend = g.op("Sub", g.scalar(1.0), g.mul(t, t))
    return (g.mul(dy, g.add(t, g.mul(x, g.mul(g.op("Sigmoid", x), bend)))),)


@gradient("Gelu", copies="entrywise")
def gelu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = x·Φ(x): y' = Φ + x·φ.

    In its tanh form y = x·σ(2u) with u = √(2/π)·(x + 0.044715·x³): y' = σ(2u) + 2·x·u'·σ'(2u).
    """
    x = node.inputs[0]
    square = g.mul(x, x)
    if node.attribute("approximate", "none") == "tanh":
        scale, cubic = math.sqrt(2.0 / math.pi), 0.044715
        twice = g.mul(x, g.add(g.mul(square, g.scalar(2.0 * scale * cubic)), g.scalar(2.0 * scale)))
        rate = g.add(g.mul(square, g.scalar(6.0 * scale * cubic)), g.scalar(2.0 * scale))
        bend = g.mul(rate, _logistic_slope(g, twice))
        return (g.mul(dy, g.add(g.op("Sigmoid", twice), g.mul(x, bend))),)
    cumulative = g.mul(g.add(g.op("Erf", g.mul(x, g.scalar(math.sqrt(0.5)))), g.scalar(1.0)), g.scalar(0.5))
    density = g.mul(g.op("Exp", g.mul(square, g.scalar(-0.5))), g.scalar(1.0 / math.sqrt(2.0 * math.pi)))
    return (g.mul(dy, g.add(cumulative, g.mul(x, density))),)


@gradient("Softmax", copies="axis")
def softmax(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx = y·(dy − Σ y·dy), Σ along the axis.

    A constant added to dy changes nothing, so the dy of the largest y is subtracted first: where
    one y is nearly 1, its own dx is then a sum of small terms, not the difference of large ones.
    """
    y = node.outputs[0]
    axis = node.attribute("axis", -1) % len(g.shape(y))
    keep_clear_of_samples(g.shape(y), [axis])
    largest = g.op("ArgMax", y, axis=axis, keepdims=1)
    dy = g.op("Sub", dy, g.op("GatherElements", dy, largest, axis=axis))
    return (g.mul(y, g.op("Sub", dy, g.reduce_sum(g.mul(y, dy), (axis,), keepdims=True))),)


@gradient("LogSoftmax", copies="axis")
def log_softmax(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx = dy − softmax(x)·Σ dy."""
    axis = node.attribute("axis", -1) % len(g.shape(node.outputs[0]))
    keep_clear_of_samples(g.shape(node.outputs[0]), [axis])
    total = g.reduce_sum(dy, (axis,), keepdims=True)
    return (g.op("Sub", dy, g.mul(g.op("Exp", node.outputs[0]), total)),)


def _decay(g: Emitter, x: str) -> str:
    """exp(−|x|), which never overflows."""
    return g.op("Exp", g.op("Neg", g.op("Abs", x)))


def _logistic_slope(g: Emitter, x: str) -> str:
    """σ'(x) = e/(1 + e)² with e = exp(−|x|), exact however far x is from 0."""
    e = _decay(g, x)
    base = g.add(e, g.scalar(1.0))
    return g.op("Div", e, g.mul(base, base))


def _piecewise(g: Emitter, node: Node, above: str, below: str) -> str:
    """`above` where the node's input exceeds 0, `below` elsewhere."""
    return g.op("Where", _above(g, node.inputs[0], 0.0), above, below)


def _above(g: Emitter, tensor: str, threshold: float) -> str:
    return g.op("Greater", tensor, g.scalar(threshold))
