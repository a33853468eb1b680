"""Where the samples lie in a tensor, judged by its sizes at two numbers of samples.

What has one size at both is static; an axis that is k times the number of samples at both holds them,
k entries each (`Batch`). Whether those k run before the samples or behind them is not seen in sizes: it
follows from where the samples lay in the node's operands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from export.graph.errors import UnsupportedGraph, UnsupportedOperator
from export.graph.graph import Batch, Node, Shape, batch_axis
from export.tracing.evaluation import ADVICE

RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def sized(name: str, sizes: Sequence[Sequence[int]], batches: Sequence[int]) -> Shape:
    """Return the shape of a tensor that has `sizes` at `batches` samples; UnsupportedGraph where it is none such."""
    low, high = sizes
    if len(low) != len(high):
        raise UnsupportedGraph(f"the rank of {name!r} depends on the batch size")
    shape = tuple(_dimension(name, pair, batches) for pair in zip(low, high, strict=True))
    if sum(isinstance(dimension, Batch) for dimension in shape) > 1:
        raise UnsupportedGraph(f"the batch appears in two axes of {name!r}: samples would mix")
    return shape


def _dimension(name: str, pair: tuple[int, int], batches: Sequence[int]) -> int | Batch:
    low, high = pair
    if low == high:
        return low
    if low * batches[1] == high * batches[0] and low % batches[0] == 0:
        return Batch(1, low // batches[0])
    raise UnsupportedGraph(f"an axis of {name!r} has {low} entries for {batches[0]} samples, {high} for {batches[1]}")


def ordered(node: Node, shape: Shape, operands: Sequence[Shape]) -> Shape:
    """Say where within its axis the samples run in an output of `shape`, as `operands` have them.

    Raises UnsupportedOperator where the node splits the batch across axes, or samples would mix.
    """
    axis = batch_axis(shape)
    source = next((operand for operand in operands if batch_axis(operand) is not None), None)
    if axis is None or source is None:
        return shape
    found, origin = shape[axis], source[batch_axis(source) or 0]
    assert isinstance(found, Batch)
    assert isinstance(origin, Batch)
    for other in (dimension for operand in operands for dimension in operand if isinstance(dimension, Batch)):
        if other != origin and other.before * other.after == origin.before * origin.after:
            raise UnsupportedOperator(
                node.operator, node.name, "the samples lie otherwise in one operand than in another: they would mix",
                "merge the samples with other axes in one order",
            )  # fmt: skip
    return (*shape[:axis], _place(node, shape, axis, source, found, origin), *shape[axis + 1 :])


def _place(node: Node, shape: Shape, axis: int, source: Shape, found: Batch, origin: Batch) -> Batch:
    if node.operator in RESHAPING:
        # A reshape leaves the order in memory alone: as much stands before a sample afterwards as did before.
        before = _product(source[: batch_axis(source)]) * origin.before
        ahead = _product(shape[:axis])
        if before % ahead or found.after % (before // ahead):
            raise UnsupportedOperator(node.operator, node.name, "it splits the batch across axes", ADVICE)
        return Batch(before // ahead, found.after * ahead // before)
    if found.after == origin.before * origin.after:
        return origin
    if found.after == 1:
        return found
    raise UnsupportedOperator(node.operator, node.name, "it mixes samples along one axis", ADVICE)


def _product(shape: Shape) -> int:
    return math.prod(dimension for dimension in shape if isinstance(dimension, int))
