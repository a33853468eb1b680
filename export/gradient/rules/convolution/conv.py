"""Convolution, and the factors of its weight's gradient."""

from __future__ import annotations

from collections.abc import Sequence

from export.gradient.rules.convolution.shifted_gram import by_shifted_gram
from export.gradient.rules.convolution.unfolding import unfolded_by_group, ways_to_unfold
from export.gradient.rules.convolution.windows import Window, window
from export.gradient.rules.factors import Alternatives, Factors
from export.gradient.rules.registry import gradient, weight_factors
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import Node


@gradient("Conv", copies="rows")
def conv(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = W ∗ x + b: dx = Wᵀ ∗ dy, db = Σ dy over the positions; dW has its factors below."""
    place, groups = _geometry(g, node)
    dx = g.op(
        "ConvTranspose",
        dy,
        node.inputs[1],
        strides=list(place.strides),
        dilations=list(place.dilations),
        pads=[*place.begin, *place.end],
        # Positions at the end of x that the stride leaves over belong to no window, but to dx.
        output_padding=[reached % stride for reached, stride in zip(place.reach, place.strides, strict=True)],
        group=groups,
    )
    if node.input(2) is None:
        return dx, None
    return dx, None, PerSample(g.position_sum(dy, g.shape(node.outputs[0])))


@weight_factors("Conv")
def conv_factors(g: Emitter, node: Node, dy: str) -> Factors | Alternatives:
    """dW = dy·unfold(x)ᵀ per sample, of the summed loss; any stride, pads, dilation, groups."""
    place, groups = _geometry(g, node)
    if groups > 1:
        return unfolded_by_group(g, node, dy, place, groups)
    return Alternatives(ways_to_unfold(g, node, dy, place), by_shifted_gram(g, node, dy, place))


def _geometry(g: Emitter, node: Node) -> tuple[Window, int]:
    kernel = g.constant_operand(node, 1)
    place = window(node, g.shape(node.inputs[0]), g.shape(node.outputs[0]), kernel.shape[2:])
    return place, node.attribute("group", 1)
