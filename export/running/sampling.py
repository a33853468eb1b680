"""GridSample and AffineGrid for onnx's reference evaluator, whose own are rounded to float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_grid_sample


class GridSample(op_grid_sample.GridSample):
    """onnx's own, but for the coordinates."""

    op_domain = ""

    def _gs_denormalize_coordinates(self, n: np.ndarray, dims: Sequence[int], align_corners: bool) -> np.ndarray:
        sizes = np.array(dims)
        scale = (sizes - 1) / 2 if align_corners else sizes / 2
        return np.asarray(n * scale + (sizes - 1) / 2)


class AffineGrid(OpRun):
    """y = θ·(x, y, 1) at every pixel's centre, or with the outer centres at ±1."""

    op_domain = ""

    def _run(self, theta: np.ndarray, size: np.ndarray, align_corners: int = 0) -> tuple[np.ndarray]:
        ends = [1.0 if align_corners else 1 - 1 / count for count in size[2:]]
        along = [np.linspace(-end, end, count) for end, count in zip(ends, size[2:], strict=True)]
        axes = np.meshgrid(*along, indexing="ij")[::-1]
        base = np.stack([*axes, np.ones_like(axes[0])], axis=-1).astype(theta.dtype)
        return (np.einsum("nij,...j->n...i", theta, base),)
