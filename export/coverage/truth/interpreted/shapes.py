"""Operators that move numbers about, by torch's functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional

from export.coverage.truth.interpreted.attributes import Attributes, Function, plain, unknown


def _reshape(node: NodeProto, given: Attributes, x: Tensor, target: Tensor) -> Tensor:
    copies = not given.get("allowzero", 0)
    sizes = [x.shape[axis] if size == 0 and copies else int(size) for axis, size in enumerate(target.tolist())]
    return x.reshape(sizes)


def _squeeze(node: NodeProto, given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _unsqueeze(node: NodeProto, given: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _slice(node: NodeProto, given: Attributes, x: Tensor, starts: Tensor, ends: Tensor, *others: Tensor) -> Tensor:
    axes = others[0].tolist() if others and others[0] is not None else list(range(len(starts)))
    steps = others[1].tolist() if len(others) > 1 else [1] * len(starts)
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes, steps, strict=True):
        places = range(x.shape[axis])[start:end:step]
        x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
    return x


def _padded(node: NodeProto, given: Attributes, x: Tensor, pads: Tensor, *others: Tensor | None) -> Tensor:
    axes = [axis % x.ndim for axis in others[1].tolist()] if len(others) > 1 and others[1] is not None else None
    before, after = pads.reshape(2, -1).tolist()
    sides = dict(zip(axes or range(x.ndim), zip(before, after, strict=True), strict=True))
    flat = [side for axis in reversed(range(x.ndim)) for side in sides.get(axis, (0, 0))]
    mode = given.get("mode", b"constant").decode()
    if mode == "constant":
        return functional.pad(x, flat, value=0.0 if not others or others[0] is None else float(others[0]))
    if x.ndim != 4 or any(flat[4:]):
        raise unknown(f"mode {mode}", node)
    return functional.pad(x, flat[:4], mode={"edge": "replicate", "reflect": "reflect", "wrap": "circular"}[mode])


def _concat(node: NodeProto, given: Attributes, *parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=given["axis"])


def _shape(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    sizes: Sequence[int] = x.shape
    return torch.tensor(sizes[given.get("start", 0) : given.get("end")])


def _gather(node: NodeProto, given: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = given.get("axis", 0) % x.ndim
    places = torch.where(indices < 0, indices + x.shape[axis], indices)
    taken = x.index_select(axis, places.flatten())
    return taken.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_elements(node: NodeProto, given: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = given.get("axis", 0)
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices))


def _gather_nd(node: NodeProto, given: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    if given.get("batch_dims", 0):
        raise unknown("batch_dims", node)
    return x[tuple(indices.unbind(-1))]


def _split(node: NodeProto, given: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = given.get("axis", 0)
    if sizes is not None:
        return tuple(torch.split(x, sizes.tolist(), dim=axis))
    each = -(-x.shape[axis] // len(node.output))
    return tuple(torch.split(x, each, dim=axis))


def _scatter_nd(node: NodeProto, given: Attributes, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    if given.get("reduction", b"none") != b"none":
        raise unknown("a reduction", node)
    written = x.clone()
    written[tuple(indices.unbind(-1))] = updates
    return written


def _scatter_elements(node: NodeProto, given: Attributes, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    if given.get("reduction", b"none") != b"none":
        raise unknown("a reduction", node)
    axis = given.get("axis", 0)
    return x.scatter(axis, torch.where(indices < 0, indices + x.shape[axis], indices), updates)


def _trilu(node: NodeProto, given: Attributes, x: Tensor, k: Tensor | None = None) -> Tensor:
    diagonal = 0 if k is None else int(k)
    return torch.triu(x, diagonal) if given.get("upper", 1) else torch.tril(x, diagonal)


def _expand(x: Tensor, target: Tensor) -> Tensor:
    shape = np.broadcast_shapes(tuple(x.shape), tuple(target.tolist()))
    return x.expand(shape)


def _flattened(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    axis = given.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _depth_to_space(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    if given.get("mode", b"DCR") != b"CRD":
        raise unknown("mode DCR", node)
    return functional.pixel_shuffle(x, given["blocksize"])


FUNCTIONS: dict[str, Function] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": plain(_expand),
    "Flatten": _flattened,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": plain(lambda x: x),
    "Pad": _padded,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": plain(lambda x, repeats: x.tile(tuple(repeats.tolist()))),
    "Transpose": lambda node, given, x: x.permute(given.get("perm", tuple(reversed(range(x.ndim))))),
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
