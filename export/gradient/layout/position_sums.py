"""Sums over the positions of maps, which the runtime computes in its blocks as means."""

from __future__ import annotations

import numpy as np

from export.gradient.layout.passes import Layout, rewrites
from export.gradient.rules.registry import has_weight
from export.graph.graph import N, Node, per_sample_size, static


@rewrites("ReduceSum")
def position_sum(layout: Layout, node: Node) -> str | None:
    """Sum over the positions of a layer's maps as their number times the mean: [N, C]."""
    g, origin, shape = layout.g, layout.origin(node), layout.shape(node.inputs[0])
    if origin is None or not has_weight(origin.operator) or node.attribute("keepdims", 1):
        return None
    if shape is None or len(shape) != 4 or shape[0] != N or not _second_is(layout, node, (2, 3)):
        return None
    mean, count = g.op("GlobalAveragePool", node.inputs[0]), float(per_sample_size(shape[2:]))
    total = g.mul(g.reshape(mean, shape[:2]), g.scalar(count))
    layout.position_means[total] = mean, static(shape[1:2])[0], count
    return total


@rewrites("Reshape")
def flat_position_sum(layout: Layout, node: Node) -> str | None:
    """Leave out the flattening of a sum over positions, which is flat already."""
    found = layout.position_means.get(node.inputs[0])
    return node.inputs[0] if found and _second_is(layout, node, (-1, found[1])) else None


@rewrites("Concat")
def joined_position_sums(layout: Layout, node: Node) -> str | None:
    """Join sums over positions while they are still maps of one position: those stay in the blocks."""
    found = [layout.position_means[name] for name in node.inputs if name in layout.position_means]
    if len(found) < len(node.inputs) or node.attribute("axis") != 1:
        return None
    g = layout.g
    means = g.op("Concat", *(mean for mean, _, _ in found), axis=1)
    counts = np.concatenate([np.full(width, count) for _, width, count in found])
    return g.mul(g.reshape(means, (N, counts.size)), g.constant(counts[None]))


def _second_is(layout: Layout, node: Node, values: tuple[int, ...]) -> bool:
    """True where the second operand is this constant vector."""
    found = layout.g.value(node.inputs[1])
    return found is not None and np.array_equal(found, values)
