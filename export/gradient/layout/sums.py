"""Sums of cotangents, and cotangents that enter the blocked layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from export.gradient.layout.passes import Layout, Movement, rewrites
from export.graph.graph import N, Node, Shape


@rewrites("Sum")
def sum_of_cotangents(layout: Layout, node: Node) -> str | None:
    """Add the terms one by one; a movement that all of them end with is done once, behind the sum."""
    if node.outputs[0] not in layout.g.graph.shapes:
        return None  # a sum of other tensors than cotangents, none of which is blocked
    return total(layout, node.inputs)


def total(layout: Layout, terms: Sequence[str]) -> str:
    """Emit the sum of `terms`. If one movement made all of them, their sources are summed and moved once."""
    movements = [layout.moved[term] for term in terms if term in layout.moved]
    if len(movements) == len(terms) > 1 and len({movement.key for movement in movements}) == 1:
        places = zip(*(movement.sources for movement in movements), strict=True)
        sums = tuple(
            total(layout, found) if (found := [source for source in place if source]) else None for place in places
        )
        return layout.move(replace(movements[0], sources=sums))
    result = terms[0]
    for term in terms[1:]:
        result = layout.g.add(result, term)
    return result


@rewrites("Expand")
def expanded_cotangent(layout: Layout, node: Node) -> str | None:
    """Repeat a mean's cotangent over the positions that were averaged, and take the result into the blocks."""
    target, shape = layout.g.value(node.inputs[1]), layout.g.graph.shapes.get(node.outputs[0])
    if target is None or shape is None:
        return None
    layout.g.keep(node)
    return into_blocks(layout, node.outputs[0], shape)


def into_blocks(layout: Layout, tensor: str, shape: Shape) -> str:
    """Take `tensor` into the blocked layout by a pool of one position each, where it fills blocks.

    Additions and products stay in the blocked layout only where all operands come from a convolution or
    pool, so one pool where cotangents enter a stage saves a reorder at every node behind.
    """
    if shape[0] != N or not layout.fills_blocks(shape):
        return tensor
    g = layout.g
    pool = Movement(("blocks", shape), (tensor,), lambda sources: g.op("AveragePool", sources[0], kernel_shape=[1, 1]))
    return layout.move(pool)
