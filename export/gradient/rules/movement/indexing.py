"""Operators that read or write at places which may differ from sample to sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

from export.gradient.rules.movement.axes import zeros_like
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Node, batch_axis, keep_clear_of_samples, static


@gradient("GatherElements")
def gather_elements(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx has the entries of dy added up where the index read them."""
    axis = _axis_apart(g, node)
    x, index = node.inputs
    return g.op("ScatterElements", zeros_like(g, x), index, dy, axis=axis, reduction="add"), None


@gradient("ScatterElements")
def scatter_elements(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """The updates get dy at their places; the data get the rest of it, or all of it where updates were added.

    Of several updates that are written to one place, only the one that stays there gets any.
    """
    axis = _axis_apart(g, node)
    _, index, updates = node.inputs
    reduction = node.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        raise g.refusal(node, f"it combines entries by {reduction!r}", "write or add them")
    taken = g.op("GatherElements", dy, index, axis=axis)
    if reduction == "add":
        return dy, None, taken
    kept = g.op("ScatterElements", dy, index, zeros_like(g, updates), axis=axis)
    return kept, None, g.op("Where", _stays(g, node, axis), taken, g.scalar(0.0))


def _stays(g: Emitter, node: Node, axis: int) -> str:
    """Tell of every update whether it stays: its number is read again where it was written."""
    data, index, _ = node.inputs
    places = g.shape(index)
    count = static(places[axis : axis + 1])[0]
    numbers = g.reshape(g.ints(range(count)), [count if place == axis else 1 for place in range(len(places))])
    numbers = g.op("Expand", numbers, g.op("Shape", index))
    nothing = g.op("Expand", g.ints([0]), g.op("Shape", data))
    written = g.op("ScatterElements", nothing, index, numbers, axis=axis)
    return g.op("Equal", g.op("GatherElements", written, index, axis=axis), numbers)


@gradient("GatherND")
def gather_nd(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """dx has the entries of dy added up at the places, which are counted flat through the axes that the index counts.

    Indices without `batch_dims` that are constants are a `Gather` by now (`export.tracing.rewriting.placing`).
    """
    x, index = node.inputs
    shape, places = g.shape(x), g.shape(index)
    lead, depth = node.attribute("batch_dims", 0), static(places[-1:])[0]
    if batch_axis(shape[:lead]) is None or places[:lead] != shape[:lead]:
        raise g.refusal(node, "its index may reach into other samples", "count within each sample (batch_dims)")
    sizes, rest = static(shape[lead : lead + depth]), math.prod(static(shape[lead + depth :]))
    steps = [math.prod(sizes[position + 1 :]) for position in range(depth)]
    within = g.mul(g.op("Mod", index, g.ints(sizes)), g.ints(steps))
    apart = (*shape[:lead], math.prod(static(places[lead:-1])), rest)
    flat = g.reshape(g.reduce_sum(within, [len(places) - 1]), [*apart[:-1], 1])
    dy = g.reshape(dy, apart)
    zeros = zeros_like(g, g.reshape(x, [*shape[:lead], math.prod(sizes), rest]))
    scattered = g.op("ScatterElements", zeros, g.repeat(flat, apart), dy, axis=lead, reduction="add")
    return g.reshape(scattered, shape), None


@gradient("TopK")
def top_k(g: Emitter, node: Node, dy: str, indices: str | None = None) -> Sequence[Cotangent]:
    """Every value goes back to the place that it was taken from; the indices carry no gradient."""
    shape = g.shape(node.inputs[0])
    axis = node.attribute("axis", -1) % len(shape)
    keep_clear_of_samples(shape, (axis,))
    zeros = zeros_like(g, node.inputs[0])
    return g.op("ScatterElements", zeros, node.outputs[1], dy, axis=axis, reduction="add"), None


@gradient("ReverseSequence")
def reverse_sequence(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Reversing the same stretches again undoes it."""
    along = {"batch_axis": node.attribute("batch_axis", 1), "time_axis": node.attribute("time_axis", 0)}
    keep_clear_of_samples(g.shape(node.inputs[0]), (along["time_axis"],))
    return g.op("ReverseSequence", dy, node.inputs[1], **along), None


@gradient("CenterCropPad")
def center_crop_pad(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Pad with zeros what was cropped, and crop what was padded, around the same centre."""
    shape, y_shape = g.shape(node.inputs[0]), g.shape(node.outputs[0])
    axes = [axis for axis, (size, reached) in enumerate(zip(shape, y_shape, strict=True)) if size != reached]
    if not axes:
        return dy, None
    keep_clear_of_samples(shape, axes)
    return g.op("CenterCropPad", dy, g.ints(static([shape[axis] for axis in axes])), axes=axes), None


@gradient("OneHot")
def one_hot(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """An index carries no gradient, and the two constants that it chooses between are no parameters."""
    g.constant_operand(node, 2)
    return None, None, None


def _axis_apart(g: Emitter, node: Node) -> int:
    """Return the axis that an index counts along; refuse one that may reach into other samples."""
    shape, places = g.shape(node.inputs[0]), g.shape(node.inputs[1])
    axis = int(node.attribute("axis", 0)) % len(shape)
    keep_clear_of_samples(shape, (axis,))
    samples = batch_axis(shape)
    if samples is None or places[samples] != shape[samples]:
        raise g.refusal(node, "its index has no entries for every sample", "expand the index to the batch")
    return axis
