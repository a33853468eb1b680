"""onnx's reference evaluator, with the operators replaced that it computes wrongly.

Comparisons with ONNX Runtime and with central differences found these faults (onnx 1.23):

    MaxPool          `Indices` are wrong at stride 1
    GlobalMaxPool    reduces the wrong axes unless there are exactly two
    GlobalLpPool     is absent
    LRN              runs over as many channels as there are samples; four axes only
    LpNormalization  leaves out the absolute value for p = 1
    ConvTranspose    fails with groups
    Pad              fails with negative pads
    GatherElements   fails along more than 64 entries
    Erf, Gelu, GridSample, AffineGrid are rounded to float32
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from export.running.sampling import AffineGrid, GridSample

Outputs = tuple[np.ndarray, ...]


def evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """Prepare the model to run, in the precision of its tensors."""
    return ReferenceEvaluator(model, new_ops=CORRECTED)


def evaluate(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run the model once; return its outputs by name."""
    ready = evaluator(model)
    return dict(zip(ready.output_names, ready.run(None, dict(feeds)), strict=True))


class MaxPool(OpRun):
    """Loops over the windows; the first of equal maxima wins."""

    op_domain = ""

    def _run(self, x: np.ndarray, **attributes: Any) -> Outputs:
        kernel, axes = attributes["kernel_shape"], x.ndim - 2
        strides = attributes.get("strides") or [1] * axes
        dilations = attributes.get("dilations") or [1] * axes
        counts, begin = _window_counts(x.shape[2:], kernel, strides, dilations, attributes)
        y = np.empty((*x.shape[:2], *counts), dtype=x.dtype)
        index = np.empty(y.shape, dtype=np.int64)
        flat = np.arange(x.size).reshape(x.shape)
        for place in np.ndindex(*counts):
            taps = [
                [
                    at
                    for tap in range(kernel[axis])
                    if 0
                    <= (at := place[axis] * strides[axis] + tap * dilations[axis] - begin[axis])
                    < x.shape[2 + axis]
                ]
                for axis in range(axes)
            ]
            read = (slice(None), slice(None), *np.ix_(*taps))
            window, where = (values[read].reshape(*x.shape[:2], -1) for values in (x, flat))
            best = window.argmax(axis=-1)[..., None]
            y[(slice(None), slice(None), *place)] = np.take_along_axis(window, best, -1)[..., 0]
            index[(slice(None), slice(None), *place)] = np.take_along_axis(where, best, -1)[..., 0]
        return (y, index) if len(self.onnx_node.output) > 1 else (y,)


def _window_counts(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    given: Mapping[str, Any],
) -> tuple[list[int], list[int]]:
    """Return the number of windows and the pad before the first one, each per axis."""
    axes, mode = len(kernel), given.get("auto_pad") or "NOTSET"
    pads = list(given.get("pads") or [0] * (2 * axes)) if mode == "NOTSET" else [0] * (2 * axes)
    counts = []
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        extent = dilations[axis] * (kernel[axis] - 1) + 1
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-size // stride)
            total = max(0, (count - 1) * stride + extent - size)
            pads[axis] = total // 2 if mode == "SAME_UPPER" else total - total // 2
        else:
            room = size + pads[axis] + pads[axes + axis] - extent
            count = (-(-room // stride) if given.get("ceil_mode") else room // stride) + 1
            count -= (count - 1) * stride >= size + pads[axis]
        counts.append(count)
    return counts, pads[:axes]


class GlobalMaxPool(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray) -> Outputs:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class GlobalLpPool(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, p: int) -> Outputs:
        return (((np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)).astype(x.dtype),)


class LRN(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, alpha: float, beta: float, bias: float, size: int) -> Outputs:
        squares = np.zeros_like(x)
        for channel in range(x.shape[1]):
            near = x[:, max(0, channel - (size - 1) // 2) : channel + size // 2 + 1]
            squares[:, channel] = np.square(near).sum(axis=1)
        return ((x / (bias + alpha / size * squares) ** beta).astype(x.dtype),)


class LpNormalization(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, axis: int, p: int) -> Outputs:
        size = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
        return (np.divide(x, size, out=np.zeros_like(x), where=size != 0),)


class ConvTranspose(OpRun):
    """Adds, for every tap of the kernel, the input times that tap at the positions it reaches."""

    op_domain = ""

    def _run(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, **attributes: Any) -> Outputs:
        axes, groups = x.ndim - 2, attributes.get("group") or 1
        strides = attributes.get("strides") or [1] * axes
        dilations = attributes.get("dilations") or [1] * axes
        begin, counts = _transposed_counts(x.shape[2:], weight.shape[2:], strides, dilations, attributes)
        room = [
            max(start + count, (size - 1) * stride + dilation * (kernel - 1) + 1)
            for start, count, size, stride, dilation, kernel in zip(
                begin, counts, x.shape[2:], strides, dilations, weight.shape[2:], strict=True
            )
        ]
        apart = x.reshape(len(x), groups, -1, *x.shape[2:])
        kernels = weight.reshape(groups, -1, *weight.shape[1:])
        full = np.zeros((len(x), groups, weight.shape[1], *room), dtype=x.dtype)
        for tap in np.ndindex(*weight.shape[2:]):
            share = np.einsum("ngi...,gio->ngo...", apart, kernels[(slice(None), slice(None), slice(None), *tap)])
            reached = tuple(
                slice(
                    tap[axis] * dilations[axis],
                    tap[axis] * dilations[axis] + (size - 1) * strides[axis] + 1,
                    strides[axis],
                )
                for axis, size in enumerate(x.shape[2:])
            )
            full[(slice(None), slice(None), slice(None), *reached)] += share
        kept = tuple(slice(start, start + count) for start, count in zip(begin, counts, strict=True))
        y = full.reshape(len(x), -1, *room)[(slice(None), slice(None), *kept)]
        return (y if bias is None else y + bias.reshape(-1, *[1] * axes),)


def _transposed_counts(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    given: Mapping[str, Any],
) -> tuple[list[int], list[int]]:
    """Return how many entries are cut off before the first one kept, and how many are kept, each per axis."""
    axes, mode = len(sizes), given.get("auto_pad") or "NOTSET"
    pads = list(given.get("pads") or [0] * (2 * axes))
    extra = given.get("output_padding") or [0] * axes
    wanted = given.get("output_shape")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    begin, counts = [], []
    for axis, size in enumerate(sizes):
        full = (size - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1 + extra[axis]
        if wanted is not None:
            total = max(0, full - wanted[axis])
            pads[axis] = total // 2 if mode == "SAME_UPPER" else total - total // 2
            pads[axes + axis] = full - wanted[axis] - pads[axis]
        begin.append(pads[axis])
        counts.append(full - pads[axis] - pads[axes + axis])
    return begin, counts


class Pad(OpRun):
    """Crops first, then pads."""

    op_domain = ""

    def _run(
        self,
        x: np.ndarray,
        pads: np.ndarray,
        value: np.ndarray | None = None,
        axes: np.ndarray | None = None,
        mode: str = "constant",
    ) -> Outputs:
        along = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
        widths = [(0, 0)] * x.ndim
        for position, axis in enumerate(along):
            before, after = int(pads[position]), int(pads[len(along) + position])
            x = np.take(x, np.arange(max(0, -before), x.shape[axis] - max(0, -after)), axis=axis)
            widths[axis] = max(0, before), max(0, after)
        if mode == "constant":
            return (np.pad(x, widths, constant_values=0 if value is None else value.item()),)
        return (np.pad(x, widths, mode=cast(Any, mode)),)


class Erf(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray) -> Outputs:
        return (_erf(x),)


class Gelu(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, approximate: str = "none") -> Outputs:
        if approximate == "tanh":
            bent = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        else:
            bent = _erf(x / math.sqrt(2))
        return ((0.5 * x * (1 + bent)).astype(x.dtype),)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)  # type: ignore[no-any-return]


class GatherElements(OpRun):
    op_domain = ""

    def _run(self, x: np.ndarray, indices: np.ndarray, axis: int = 0) -> Outputs:
        return (np.take_along_axis(x, indices % x.shape[axis], axis),)


CORRECTED: list[type[OpRun]] = [
    MaxPool, GlobalMaxPool, GlobalLpPool, LRN, LpNormalization, ConvTranspose, Pad, Erf, Gelu, GatherElements,
    GridSample, AffineGrid,
]  # fmt: skip
