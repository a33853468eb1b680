"""Resize: a product with one constant matrix per axis; the gradient takes their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from export.gradient.rules.movement.axes import along_axis
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Array, Batch, Node

DEFAULT_CUBIC_COEFFICIENT = -0.75


@gradient("Resize", copies="rows")
def resize(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Nearest, linear and cubic interpolation in every coordinate mode but tf_crop_and_resize."""
    if node.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise g.refusal(node, "cropping regions are not supported", "crop and resize separately")
    if node.attribute("antialias", 0):
        raise g.refusal(node, "antialias is not supported", "resize without antialias")
    shape, y_shape = g.shape(node.inputs[0]), g.shape(node.outputs[0])
    if len(shape) == 3 and node.attribute("mode", "nearest") != "nearest":
        raise g.refusal(node, "ONNX Runtime interpolates three axes across the samples", "add a fourth axis of size 1")
    axes = node.attribute("axes") or list(range(len(shape)))
    scales = g.constant_operand(node, 2)
    dx = dy
    for position, axis in enumerate(axes):
        size, count = shape[axis % len(shape)], y_shape[axis % len(shape)]
        if isinstance(size, Batch) or isinstance(count, Batch):
            continue
        scale = float(scales.reshape(-1)[position]) if scales is not None and scales.size else count / size
        if size == count and scale == 1.0:
            continue
        dx = along_axis(g, dx, len(shape), axis % len(shape), resize_matrix(node, size, count, scale))
    return dx, *([None] * (len(node.inputs) - 1))


def resize_matrix(node: Node, size: int, count: int, scale: float) -> Array:
    """[count, size]: the weights with which every output entry reads the input along one axis."""
    mode, place = node.attribute("mode", "nearest"), node.attribute("coordinate_transformation_mode", "half_pixel")
    # Which entry is nearest is decided by rounding, and the runtime works in float32.
    coordinates = original_coordinates(place, size, count, scale, np.float32 if mode == "nearest" else np.float64)
    matrix = np.zeros((count, size))
    rows = np.arange(count)
    if mode == "nearest":
        matrix[rows, _nearest(node.attribute("nearest_mode", "round_prefer_floor"), coordinates, size)] = 1.0
        return matrix
    low = np.floor(coordinates).astype(np.int64)
    fraction = coordinates - low
    if mode == "linear":
        taps: list[tuple[int, Array]] = [(0, 1.0 - fraction), (1, fraction)]
    else:
        taps = _cubic_taps(fraction, node.attribute("cubic_coeff_a", DEFAULT_CUBIC_COEFFICIENT))
    for offset, weight in taps:
        at = low + offset
        kept = (at >= 0) & (at < size) if node.attribute("exclude_outside", 0) else np.ones(count, dtype=bool)
        np.add.at(matrix, (rows, np.clip(at, 0, size - 1)), weight * kept)
    return matrix / matrix.sum(axis=1, keepdims=True) if node.attribute("exclude_outside", 0) else matrix


def original_coordinates(mode: str, size: int, count: int, scale: float, precision: type[np.floating[Any]]) -> Array:
    """The coordinate in the input of every output entry, by ONNX's formula for the mode."""
    position, factor = np.arange(count, dtype=precision), precision(scale)
    half, last, last_read = precision(0.5), precision(max(1, count - 1)), precision(size - 1)
    coordinates: Array
    if mode == "asymmetric":
        coordinates = position / factor
    elif mode == "align_corners":
        coordinates = position * last_read / last
    elif mode == "pytorch_half_pixel" and count == 1:
        coordinates = np.zeros(1)
    else:
        coordinates = (position + half) / factor - half
    if mode == "half_pixel_symmetric":
        coordinates += precision(size / 2) * (1 - count / (factor * precision(size)))
    return coordinates


def _nearest(rounding: str, coordinates: Array, size: int) -> Array:
    rounded = {
        "round_prefer_floor": np.ceil(coordinates - 0.5),
        "round_prefer_ceil": np.floor(coordinates + 0.5),
        "floor": np.floor(coordinates),
        "ceil": np.ceil(coordinates),
    }[rounding]
    return np.clip(rounded, 0, size - 1).astype(np.int64)


def _cubic_taps(fraction: Array, a: float) -> list[tuple[int, Array]]:
    """Keys' convolution kernel at the four neighbours."""

    def near(t: Array) -> Array:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Array) -> Array:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return [(-1, far(fraction + 1)), (0, near(fraction)), (1, near(1 - fraction)), (2, far(2 - fraction))]
