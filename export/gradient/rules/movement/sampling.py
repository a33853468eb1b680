"""Reading an image at computed places: GridSample and the AffineGrid that steers it (spatial transformers)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from export.gradient.rules.movement.axes import zeros_like
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import N, Node, Shape, static


@dataclass(frozen=True)
class Corner:
    """One of the neighbours that a place reads along one axis, for all places [N, places].

    index    its position, within the image
    weight   its share, 0 where it lies beyond an image that is padded with zeros
    slope    the derivative of the share by the coordinate
    """

    index: str
    weight: str
    slope: str


@gradient("GridSample")
def grid_sample(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Y is a sum over corners, share·X[corner]: dX adds up share·dY there, the grid gets Σ dY·X[corner]·share'.

    The share is a product of one factor per axis. Nearest neighbours do not change as the grid moves a little.
    """
    image, grid = node.inputs
    shape, y_shape = g.shape(image), g.shape(node.outputs[0])
    if len(shape) != 4:
        raise g.refusal(node, "it samples a volume", "sample images")
    if node.attribute("mode", "linear") == "cubic":
        raise g.refusal(node, "cubic interpolation is not supported", "interpolate linearly")
    channels, *sizes = static(shape[1:])
    places = math.prod(static(y_shape[2:]))
    xs, ys = (_coordinate(g, grid, g.shape(grid), axis) for axis in (0, 1))
    rows, columns = _corners(g, node, ys, sizes[0]), _corners(g, node, xs, sizes[1])
    flat = g.reshape(image, (N, channels, math.prod(sizes)))
    dy = g.reshape(dy, (N, channels, places))
    dx = zeros_like(g, flat)
    by_row: list[str] = []
    by_column: list[str] = []
    for row in rows:
        for column in columns:
            at = g.add(g.mul(row.index, g.ints([sizes[1]])), column.index)
            index = g.repeat(g.reshape(at, (N, 1, places)), (N, channels, places))
            share = g.mul(dy, g.reshape(g.mul(row.weight, column.weight), (N, 1, places)))
            dx = g.op("ScatterElements", dx, index, share, axis=2, reduction="add")
            read = g.reduce_sum(g.mul(dy, g.op("GatherElements", flat, index, axis=2)), [1])
            by_row.append(g.mul(read, g.mul(row.slope, column.weight)))
            by_column.append(g.mul(read, g.mul(row.weight, column.slope)))
    dx = g.reshape(dx, shape)
    if len(by_row) == 1:
        return dx, None
    moved = [g.reshape(g.op("Sum", *parts), (N, places, 1)) for parts in (by_column, by_row)]
    return dx, g.reshape(g.op("Concat", *moved, axis=2), g.shape(grid))


@gradient("AffineGrid")
def affine_grid(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Every place of the grid is θ·(x, y, 1): dθ = Σ dY·(x, y, 1)ᵀ over the places."""
    *sizes, axes = static(g.shape(node.outputs[0])[1:])
    if axes != 2:
        raise g.refusal(node, "it makes a grid of volumes", "sample images")
    ends = [1.0 if node.attribute("align_corners", 0) else 1.0 - 1.0 / size for size in sizes]
    y, x = np.meshgrid(*(np.linspace(-end, end, size) for end, size in zip(ends, sizes, strict=True)), indexing="ij")
    base = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    columns = g.transpose(g.reshape(dy, (N, len(base), 2)), (0, 2, 1))
    return g.op("MatMul", columns, g.constant(base)), None


def _coordinate(g: Emitter, grid: str, shape: Shape, axis: int) -> str:
    """The grid's x (axis 0) or y (axis 1): [N, places]."""
    chosen = g.op("Gather", grid, g.constant(np.array(axis)), axis=3)
    return g.reshape(chosen, (N, math.prod(static(shape[1:3]))))


def _corners(g: Emitter, node: Node, coordinate: str, size: int) -> list[Corner]:
    """The positions that every place reads along an axis of `size` pixels: two, or one where the nearest is taken."""
    aligned, padding = node.attribute("align_corners", 0), node.attribute("padding_mode", "zeros")
    scale = (size - 1) / 2 if aligned else size / 2
    place = g.add(g.mul(coordinate, g.scalar(scale)), g.scalar((size - 1) / 2))
    slope = g.scalar(scale)
    if padding == "reflection":
        low, high = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
        place, turned = _reflected(g, place, low, high)
        slope = g.mul(slope, turned)
    if padding != "zeros":
        inside = g.op("And", g.op("Greater", place, g.scalar(0.0)), g.op("Less", place, g.scalar(size - 1.0)))
        slope = g.op("Where", inside, slope, g.scalar(0.0))
        place = g.op("Clip", place, g.scalar(0.0), g.scalar(size - 1.0))
    if node.attribute("mode", "linear") == "nearest":
        return [_corner(g, g.op("Round", place), g.scalar(1.0), g.scalar(0.0), size)]
    first = g.op("Floor", place)
    behind = g.op("Sub", place, first)
    return [
        _corner(g, first, g.op("Sub", g.scalar(1.0), behind), g.op("Neg", slope), size),
        _corner(g, g.add(first, g.scalar(1.0)), behind, slope, size),
    ]


def _corner(g: Emitter, position: str, weight: str, slope: str, size: int) -> Corner:
    inside = g.op(
        "And",
        g.op("GreaterOrEqual", position, g.scalar(0.0)),
        g.op("LessOrEqual", position, g.scalar(size - 1.0)),
    )
    # Clipped as integers: a coordinate of NaN must not reach beyond its sample.
    whole = g.op("Cast", position, to=TensorProto.INT64)
    index = g.op("Clip", whole, g.constant(np.array(0)), g.constant(np.array(size - 1)))
    weight, slope = (g.op("Where", inside, tensor, g.scalar(0.0)) for tensor in (weight, slope))
    return Corner(index, weight, slope)


def _reflected(g: Emitter, place: str, low: float, high: float) -> tuple[str, str]:
    """A coordinate folded into [low, high] by reflection at both ends, and the sign that its slope takes."""
    if high <= low:
        return g.mul(place, g.scalar(0.0)), g.scalar(0.0)
    span = g.scalar(high - low)
    from_low = g.op("Sub", place, g.scalar(low))
    distance = g.op("Abs", from_low)
    turns = g.op("Floor", g.op("Div", distance, span))
    rest = g.op("Sub", distance, g.mul(turns, span))
    is_odd = g.op("Equal", g.op("Mod", turns, g.scalar(2.0), fmod=1), g.scalar(1.0))
    folded = g.op("Where", is_odd, g.op("Sub", g.scalar(high), rest), g.add(rest, g.scalar(low)))
    sign = g.op("Sign", from_low)
    return folded, g.op("Where", is_odd, g.op("Neg", sign), sign)
