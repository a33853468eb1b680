"""Convolution, its input gradient as another convolution, and its norm twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from export.gradient.norms.factors import Factors, of_whole_samples
from export.gradient.rules.conv_factors import unfolded_by_group, unfolding_costs
from export.gradient.rules.conv_input import at_stride_1, by_phases, flipped, spread
from export.gradient.rules.registry import gradient, norm
from export.gradient.rules.shifted_gram import by_shifted_gram
from export.gradient.rules.windows import Window, window
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import N, Node, static


@gradient("Conv")
def conv(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = W ∗ x + b: dx = Wᵀ ∗ dy, db = Σ dy over the positions; the norm twin has dW."""
    place, groups = _geometry(g, node)
    weight = node.inputs[1]
    if set(place.strides) == {1}:
        dx = flipped(g, dy, weight, place, groups)
    elif set(place.dilations) == {1}:
        dx = by_phases(g, dy, weight, place, groups)
    else:
        apart = spread(g, dy, g.shape(node.outputs[0]), place)
        dx = flipped(g, apart, weight, at_stride_1(place), groups)
    if node.input(2) is None:
        return dx, None
    return dx, None, PerSample(g.position_sum(dy, g.shape(node.outputs[0])))


@norm("Conv")
def conv_norm(g: Emitter, node: Node, dy: str) -> Factors:
    """Squared norm per sample of dW = dy·unfold(x)ᵀ, of the summed loss; any stride, pads, dilation, groups."""
    place, groups = _geometry(g, node)
    rows = g.shape(node.outputs[0])[0]
    if groups > 1:
        return of_whole_samples(g, unfolded_by_group(g, node, dy, place, groups), rows)
    outputs, channels, *_ = static(g.shape(node.inputs[1]))
    costs = unfolding_costs(place, outputs, channels)
    factors = min(costs, key=costs.__getitem__)(g, node, dy, place)
    if rows != N:
        return of_whole_samples(g, factors, rows)
    return replace(factors, norms_only=by_shifted_gram(g, node, dy, place))


def _geometry(g: Emitter, node: Node) -> tuple[Window, int]:
    kernel = g.constant_operand(node, 1)
    place = window(node, g.shape(node.inputs[0]), g.shape(node.outputs[0]), kernel.shape[2:])
    return place, node.attribute("group", 1)
