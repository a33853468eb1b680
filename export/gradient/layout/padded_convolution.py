"""Convolutions of stride 1 with any pads, negative ones included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.graph.emitter import Emitter


def padded_conv(g: Emitter, x: str, kernel: str, pads: Sequence[int], dilations: Sequence[int], groups: int) -> str:
    """A stride-1 convolution; negative pads cut x before it."""
    axes = len(dilations)
    return g.op(
        "Conv",
        resized(g, x, [min(pad, 0) for pad in pads]),
        kernel,
        pads=[max(pad, 0) for pad in pads],
        dilations=list(dilations),
        strides=[1] * axes,
        group=groups,
    )


def resized(g: Emitter, x: str, pads: Sequence[int]) -> str:
    """x with zeros added, or with negative pads entries cut, at both ends of its positions."""
    axes = len(pads) // 2
    if any(pad < 0 for pad in pads):
        starts = [-min(pad, 0) for pad in pads[:axes]]
        ends = [min(pad, 0) or np.iinfo(np.int64).max for pad in pads[axes:]]
        x = g.op("Slice", x, g.ints(starts), g.ints(ends), g.ints(range(2, 2 + axes)))
    if any(pad > 0 for pad in pads):
        added = [max(pad, 0) for pad in pads]
        x = g.op("Pad", x, g.ints([0, 0, *added[:axes], 0, 0, *added[axes:]]))
    return x
