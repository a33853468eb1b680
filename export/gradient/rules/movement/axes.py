"""Constant linear maps along one axis, and the placing of a piece back into zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.graph.emitter import Emitter
from export.graph.graph import Array


def along_axis(g: Emitter, tensor: str, rank: int, axis: int, matrix: Array) -> str:
    """Σ_i tensor[…, i, …]·matrix[i, j] along `axis`; one MatMul, with transposes unless it is one of the last two."""
    if axis == rank - 1:
        return g.op("MatMul", tensor, g.constant(matrix))
    if axis == rank - 2:
        return g.op("MatMul", g.constant(np.ascontiguousarray(matrix.T)), tensor)
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return g.transpose(g.op("MatMul", g.transpose(tensor, order), g.constant(matrix)), order)


def selection(index: Array, size: int) -> Array:
    """[len(index), size] with 1 where row i reads entry index[i]: the transpose of a gather along an axis."""
    matrix = np.zeros((len(index), size))
    matrix[np.arange(len(index)), index] = 1.0
    return matrix


def scatter_along_axis(g: Emitter, tensor: str, rank: int, axis: int, index: Array, size: int) -> str:
    """Entry i of `tensor` along `axis` added at index[i] of `size` zeros: what a gather does, backwards.

    A run of neighbours is padded, other distinct entries gathered from behind one appended zero,
    and repeated ones summed by a product with the selection matrix.
    """
    count = len(index)
    if np.array_equal(index, np.arange(size)):
        return tensor
    if count and np.array_equal(index, np.arange(index[0], index[0] + count)):
        return pad(g, tensor, rank, axis, int(index[0]), size - int(index[0]) - count)
    if len(np.unique(index)) < count:
        return along_axis(g, tensor, rank, axis, selection(index, size))
    source = np.full(size, count, dtype=np.int64)
    source[index] = np.arange(count)
    return g.op("Gather", pad(g, tensor, rank, axis, 0, 1), g.constant(source), axis=axis)


def pad(g: Emitter, tensor: str, rank: int, axis: int, before: int, after: int) -> str:
    """Zeros before and after along one axis."""
    ahead, behind = [0] * rank, [0] * rank
    ahead[axis], behind[axis] = before, after
    return pad_all(g, tensor, ahead, behind)


def pad_all(g: Emitter, tensor: str, before: Sequence[int], after: Sequence[int]) -> str:
    """Zeros before and after along every axis."""
    return g.op("Pad", tensor, g.ints([*before, *after])) if any((*before, *after)) else tensor


def zeros_like(g: Emitter, tensor: str) -> str:
    """Zeros of a tensor's shape."""
    return g.op("Expand", g.scalar(0.0), g.op("Shape", tensor))
