"""Operators that move, repeat or leave out entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.gradient.rules.movement.axes import along_axis, pad_all, scatter_along_axis, selection, zeros_like
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import Array, Batch, Dimension, Node, batch_axis, keep_clear_of_samples, static


@gradient("Transpose", copies="axes")
def transpose(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    rank = len(g.shape(node.inputs[0]))
    order = node.attribute("perm") or list(range(rank))[::-1]
    return (g.transpose(dy, [int(axis) for axis in np.argsort(order)]),)


@gradient("Concat", copies="axis")
def concat(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Every operand gets its own stretch of dy."""
    if len(node.inputs) == 1:
        return (dy,)
    axis = node.attribute("axis") % len(g.shape(node.outputs[0]))
    sizes = [_static_axis(g, node, g.shape(name), axis) for name in node.inputs]
    pieces = g.op("Split", dy, g.ints(sizes), outputs=len(sizes), axis=axis)
    return tuple(
        piece if g.value(name) is None else _of_constant(g, node, name, piece)
        for name, piece in zip(node.inputs, pieces, strict=True)
    )


@gradient("Split")
def split(g: Emitter, node: Node, *dys: str | None) -> Sequence[Cotangent]:
    """dx has the pieces' cotangents side by side, with zeros for a piece that nothing reads."""
    pieces = [dy or zeros_like(g, name) for dy, name in zip(dys, node.outputs, strict=True)]
    axis = node.attribute("axis", 0) % len(g.shape(node.inputs[0]))
    _static_axis(g, node, g.shape(node.inputs[0]), axis)
    dx = g.op("Concat", *pieces, axis=axis) if len(pieces) > 1 else pieces[0]
    return dx, *([None] * (len(node.inputs) - 1))


@gradient("Slice", copies="axes")
def slice_(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx has dy where the slice read and zeros elsewhere; steps may be negative."""
    shape = g.shape(node.inputs[0])
    rank, dx = len(shape), dy
    starts, ends = (g.constant_operand(node, index).reshape(-1) for index in (1, 2))
    axes = g.constant_operand(node, 3, np.arange(len(starts))).reshape(-1)
    steps = g.constant_operand(node, 4, np.ones(len(starts), dtype=np.int64)).reshape(-1)
    before, after = [0] * rank, [0] * rank
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        axis %= rank
        size = shape[axis]
        if isinstance(size, Batch):
            # Exporters write "all of the batch" as a slice from 0 to the largest integer.
            if (start, step) == (0, 1) and end >= np.iinfo(np.int32).max:
                continue
            raise g.refusal(node, "it slices the batch", "slice every sample alike")
        index = np.arange(size)[slice(start, end, step)]
        if step == 1 and len(index):
            before[axis], after[axis] = int(index[0]), size - int(index[-1]) - 1
        else:
            dx = scatter_along_axis(g, dx, rank, axis, index, size)
    return pad_all(g, dx, before, after), *([None] * (len(node.inputs) - 1))


@gradient("Gather", copies="axis")
def gather(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx has the entries of dy added up where the constant index read them."""
    shape = g.shape(node.inputs[0])
    rank, axis = len(shape), node.attribute("axis", 0) % len(shape)
    index = g.constant_operand(node, 1).astype(np.int64)
    if g.value(node.inputs[0]) is not None:
        return None, None
    size = _static_axis(g, node, shape, axis)
    if index.ndim != 1:
        dy = g.reshape(dy, (*shape[:axis], index.size, *shape[axis + 1 :]))
    return scatter_along_axis(g, dy, rank, axis, index.reshape(-1) % size, size), None


@gradient("Pad", copies="axes")
def pad(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx is the part of dy that came from the operand; reflected, repeated and wrapped entries add up there."""
    shape = g.shape(node.inputs[0])
    rank, mode = len(shape), node.attribute("mode", "constant")
    pads = g.constant_operand(node, 1).reshape(-1).tolist()
    axes = [int(axis) % rank for axis in g.constant_operand(node, 3, np.arange(rank)).reshape(-1)]
    dx = dy
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if not (before or after):
            continue
        size = _static_axis(g, node, shape, axis)
        index = padded_index(size, before, after, mode)
        inside = np.nonzero(index >= 0)[0]
        if len(np.unique(index[inside])) == len(inside):
            dx = g.op("Slice", dx, g.ints([inside[0]]), g.ints([inside[-1] + 1]), g.ints([axis]))
            dx = scatter_along_axis(g, dx, rank, axis, index[inside], size)
        else:
            dx = along_axis(g, dx, rank, axis, selection(index, size))
    return dx, *([None] * (len(node.inputs) - 1))


def padded_index(size: int, before: int, after: int, mode: str) -> Array:
    """Return which of `size` entries each entry of the padded axis copies; -1 for none. Negative pads crop."""
    position = np.arange(-before, size + after)
    if mode == "edge":
        return np.clip(position, 0, size - 1)
    if mode == "wrap":
        return position % size
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        return np.abs((position + size - 1) % period - (size - 1))
    return np.where((position >= 0) & (position < size), position, -1)


@gradient("Tile")
def tile(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx is dy summed over the repetitions."""
    shape, y_shape = g.shape(node.inputs[0]), g.shape(node.outputs[0])
    if batch_axis(shape) is None:
        return _of_constant(g, node, node.inputs[0], dy), None
    repeats = g.constant_operand(node, 1).reshape(-1).tolist()
    apart: list[Dimension] = []
    summed = []
    for size, times in zip(shape, repeats, strict=True):
        if times > 1 and isinstance(size, Batch):
            raise g.refusal(node, "it repeats the batch", "repeat along other axes")
        if times > 1:
            summed.append(len(apart))
            apart.append(times)
        apart.append(size)
    dx = g.reduce_sum(g.reshape(dy, apart), summed) if summed else dy
    assert len(y_shape) == len(shape)
    return dx, None


@gradient("DepthToSpace")
def depth_to_space(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Channels that were laid out as blocks of positions go back; DCR has the block first, CRD the channel."""
    block, shape = node.attribute("blocksize"), g.shape(node.inputs[0])
    if node.attribute("mode", "DCR") == "DCR":
        return (g.op("SpaceToDepth", dy, blocksize=block),)
    batch, channels, height, width = shape
    inner = static((channels,))[0] // block**2
    blocks = g.reshape(dy, (batch, inner, static((height,))[0], block, static((width,))[0], block))
    return (g.reshape(g.transpose(blocks, (0, 1, 3, 5, 2, 4)), shape),)


@gradient("SpaceToDepth")
def space_to_depth(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    return (g.op("DepthToSpace", dy, blocksize=node.attribute("blocksize"), mode="DCR"),)


@gradient("Cast", "CastLike", copies="entrywise")
def cast(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx is dy between floats of one precision; integers and conditions carry no gradient."""
    source, target = (g.graph.dtypes[name] for name in (node.inputs[0], node.outputs[0]))
    without = (None,) * (len(node.inputs) - 1)
    if not np.issubdtype(source, np.floating) or not np.issubdtype(target, np.floating):
        return None, *without
    if source != target:
        raise g.refusal(node, f"it changes the precision from {source} to {target}", "export in float32 throughout")
    return dy, *without


@gradient("Dropout")
def dropout(g: Emitter, node: Node, dy: str, *mask: str | None) -> Sequence[Cotangent]:
    """In inference, Dropout passes its input on."""
    if bool(g.constant_operand(node, 2, False)):
        raise g.refusal(node, "training mode draws at random", "export the model in evaluation mode")
    return dy, *([None] * (len(node.inputs) - 1))


@gradient("Trilu")
def trilu(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx is dy in the triangle that was kept, 0 elsewhere."""
    keep_clear_of_samples(g.shape(node.inputs[0]), (-2, -1))
    return g.op("Trilu", dy, node.input(1), upper=node.attribute("upper", 1)), *([None] * (len(node.inputs) - 1))


def _static_axis(g: Emitter, node: Node, shape: Sequence[Dimension], axis: int) -> int:
    size = shape[axis]
    if isinstance(size, Batch):
        raise g.refusal(node, "it works along the batch: samples would mix", "work along other axes")
    return size


def _of_constant(g: Emitter, node: Node, name: str, dy: str) -> Cotangent:
    """The part of `dy` that is the gradient of a trained constant, or of a tensor that all samples share.

    `dy` has the tensor's shape but for the axes along which it was repeated.
    """
    if name not in g.graph.shared and not g.graph.is_parameter(name):
        return None
    shape = g.shape(node.outputs[0])
    if node.operator == "Concat":
        axis = node.attribute("axis") % len(shape)
        shape = (*shape[:axis], g.shape(name)[axis], *shape[axis + 1 :])
    for size, repeated in zip(g.shape(name)[::-1], shape[::-1], strict=False):
        if size not in (1, repeated):
            raise g.refusal(node, "it repeats a trained constant as a block", "expand axes of size 1")
    return PerSample(g.unbroadcast_per_sample(dy, shape, static(g.shape(name))))
