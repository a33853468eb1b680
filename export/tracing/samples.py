"""The place of the samples in a tensor, found from its sizes at two numbers of samples.

An axis that has one size at both is static. An axis that is k times the number of samples at both holds the
samples, with k entries each (`Batch`). Sizes do not show whether the k entries run before the samples or behind
them; that follows from where the samples lie in the node's operands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from export.graph.errors import UnsupportedGraph, UnsupportedOperator
from export.graph.graph import Batch, Node, Shape, batch_axis
from export.tracing.evaluation import ADVICE

RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def sized(name: str, sizes: Sequence[Sequence[int]], batches: Sequence[int]) -> Shape:
    """Return the shape of a tensor that has `sizes` at `batches` samples.

    Raises UnsupportedGraph where a size depends on the batch in another way, or two axes hold samples.
    """
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
    """Return `shape`, of an output, with the order of the samples in their axis taken from `operands`.

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
            reason = "the samples have another order in one operand than in another: they would mix"
            raise UnsupportedOperator(
                node.operator, node.name, reason, "merge the samples with other axes in one order"
            )
    return (*shape[:axis], _place(node, shape, axis, source, found, origin), *shape[axis + 1 :])


def _place(node: Node, shape: Shape, axis: int, source: Shape, found: Batch, origin: Batch) -> Batch:
    if node.operator in RESHAPING:
        # A reshape keeps the order in memory, so as many entries come before each sample as in its operand.
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
