"""Col2Im, torch's `fold`: columns of window entries added up where the windows lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.gradient.rules.convolution.taps import unfold_index
from export.gradient.rules.convolution.windows import Window
from export.gradient.rules.movement.axes import pad
from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter
from export.graph.graph import Node, static


@gradient("Col2Im")
def col2im(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Every window takes its entries of dy: x is [N, C·taps, windows], y [N, C, *sizes]."""
    y_shape, x_shape = g.shape(node.outputs[0]), g.shape(node.inputs[0])
    kernel = tuple(int(size) for size in g.constant_operand(node, 2))
    axes = len(kernel)
    pads = node.attribute("pads") or [0] * 2 * axes
    strides = tuple(node.attribute("strides") or [1] * axes)
    dilations = tuple(node.attribute("dilations") or [1] * axes)
    sizes = static(y_shape[2:])
    counts = tuple(
        (size + begin + end - d * (k - 1) - 1) // stride + 1
        for size, begin, end, d, k, stride in zip(
            sizes, pads[:axes], pads[axes:], dilations, kernel, strides, strict=True
        )
    )
    place = Window(sizes, counts, kernel, strides, dilations, tuple(pads[:axes]), tuple(pads[axes:]))
    index, positions = unfold_index(place), math.prod(sizes)
    flat = g.reshape(dy, (*y_shape[:2], positions))
    if (index == positions).any():
        flat = pad(g, flat, 3, 2, 0, 1)
    taken = g.op("Gather", flat, g.constant(index.T.reshape(-1).astype(np.int32)), axis=2)
    return g.reshape(taken, x_shape), None, None
