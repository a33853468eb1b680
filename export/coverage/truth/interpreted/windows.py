"""Convolutions, pools and resizing by torch's functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional

from export.coverage.truth.interpreted.attributes import Attributes, Function, unknown


def _pads(node: NodeProto, given: Attributes, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Return the pads as ONNX lists them: the first sides of all axes, then the last."""
    automatic = given.get("auto_pad", b"NOTSET")
    none = [0] * len(kernel)
    if automatic in (b"NOTSET", b"VALID"):
        return given.get("pads") or [*none, *none]
    strides, dilations = (given.get(name) or [1] * len(kernel) for name in ("strides", "dilations"))
    totals = [
        max((-(-size // stride) - 1) * stride + (length - 1) * spread + 1 - size, 0)
        for size, length, stride, spread in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    halves = [total // 2 for total in totals]
    rest = [total - half for total, half in zip(totals, halves, strict=True)]
    return [*halves, *rest] if automatic == b"SAME_UPPER" else [*rest, *halves]


def _sides(pads: list[int]) -> tuple[list[int], bool]:
    """Return the pads as `functional.pad` takes them, and whether both sides of every axis are equal."""
    axes = len(pads) // 2
    flat = [pads[side * axes + axis] for axis in reversed(range(axes)) for side in (0, 1)]
    return flat, pads[:axes] == pads[axes:]


def _conv(node: NodeProto, given: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    sides, _ = _sides(_pads(node, given, x.shape[2:], weight.shape[2:]))
    convolve: Callable[..., Tensor] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[axes]
    return convolve(
        functional.pad(x, sides) if any(sides) else x,
        weight,
        bias,
        stride=given.get("strides", 1),
        dilation=given.get("dilations", 1),
        groups=given.get("group", 1),
    )


def _window(node: NodeProto, given: Attributes, x: Tensor, fill: float) -> tuple[Tensor, Attributes]:
    """Return `x`, padded where torch's pool cannot do that itself, and the pool's arguments."""
    kernel = given["kernel_shape"]
    pads = _pads(node, given, x.shape[2:], kernel)
    sides, alike = _sides(pads)
    arguments = {"kernel_size": kernel, "stride": given.get("strides") or [1] * len(kernel)}
    arguments["ceil_mode"] = bool(given.get("ceil_mode", 0))
    if alike:
        return x, arguments | {"padding": pads[: len(kernel)]}
    if arguments["ceil_mode"]:
        raise unknown("unequal pads and ceil_mode", node)
    return functional.pad(x, sides, value=fill), arguments


def _max_pool(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    padded, arguments = _window(node, given, x, -torch.inf)
    return functional.max_pool2d(padded, dilation=given.get("dilations", 1), **arguments)


def _average_pool(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    padded, arguments = _window(node, given, x, 0.0)
    counted = bool(given.get("count_include_pad", 0))
    if padded is x:
        return functional.avg_pool2d(x, count_include_pad=counted, **arguments)
    average = functional.avg_pool2d(padded, **arguments)
    if counted:
        return average
    inside, _ = _window(node, given, torch.ones_like(x), 0.0)
    return average / functional.avg_pool2d(inside, **arguments)


def _conv_transpose(
    node: NodeProto, given: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    axes = weight.ndim - 2
    pads = list(given.get("pads") or [0] * (2 * axes))
    if (
        given.get("auto_pad", b"NOTSET") != b"NOTSET"
        or pads[:axes] != pads[axes:]
        or axes != 2
        or "output_shape" in given
    ):
        raise unknown("such pads or output_shape", node)
    return functional.conv_transpose2d(
        x,
        weight,
        bias,
        stride=given.get("strides", 1),
        padding=pads[:axes],
        output_padding=given.get("output_padding", 0),
        dilation=given.get("dilations", 1),
        groups=given.get("group", 1),
    )


def _resize(node: NodeProto, given: Attributes, x: Tensor, *rest: Tensor | None) -> Tensor:
    scales, sizes = (*rest, None, None)[1:3]
    places = given.get("coordinate_transformation_mode", b"half_pixel")
    mode = {b"nearest": "nearest", b"linear": "bilinear", b"cubic": "bicubic"}[given.get("mode", b"nearest")]
    target = (
        [int(size) for size in sizes[2:]]
        if sizes is not None and sizes.numel()
        else [int(size * float(scale)) for size, scale in zip(x.shape[2:], scales[2:], strict=True)]  # type: ignore[index]
    )
    if mode == "nearest":
        if places != b"asymmetric" or given.get("nearest_mode") != b"floor":
            raise unknown("such places", node)
        return functional.interpolate(x, target, mode="nearest")
    if places not in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        raise unknown("such places", node)
    aligned = places == b"align_corners"
    return functional.interpolate(
        x, target, mode=mode, align_corners=aligned, antialias=bool(given.get("antialias", 0))
    )


def _lrn(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    return functional.local_response_norm(
        x, given["size"], given.get("alpha", 1e-4), given.get("beta", 0.75), given.get("bias", 1.0)
    )


def _global(reduce: Callable[..., Tensor]) -> Function:
    return lambda node, given, x: reduce(x, tuple(range(2, x.ndim)), keepdim=True)


FUNCTIONS: dict[str, Function] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "LRN": _lrn,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
