"""The mask of a rectifier's gradient."""

from __future__ import annotations

import numpy as np

from export.gradient.layout.passes import Layout, rewrites
from export.graph.graph import Node, static

SLOPE = 1e38
OFFSET = -0.125
"""min(1, max(0, SLOPE·y + OFFSET)) is 0 at 0 and 1 for every normal float32 above it, the least of which is 1.18e-38.

In float16 SLOPE is infinite, and 0 times it no number: a graph in half precision needs a comparison instead. An
OFFSET of 0 would do by the standard, but OpenVINO's processor plugin takes it for a missing one and puts ½ there.
"""


@rewrites("Where")
def rectifier_mask(layout: Layout, node: Node) -> str | None:
    """Where(y > 0, dy, 0) as dy · step(y): one node in place of a comparison and a choice.

    For maps y passes through a depthwise 1×1 convolution of ones, with the step behind it: the runtime fuses
    the two and keeps the tensor in its blocks, which an activation alone would leave and enter again.
    """
    g, origin = layout.g, layout.origin(node)
    if origin is None or origin.operator != "Relu":
        return None
    condition, dy, _ = node.inputs
    y = layout.made[condition].inputs[0]
    shape = g.shape(y)
    if layout.fills_blocks(shape):
        channels = static(shape[1:2])[0]
        y = g.op("Conv", y, g.constant(np.ones((channels, 1, 1, 1))), group=channels)
    return g.mul(dy, g.op("HardSigmoid", y, alpha=SLOPE, beta=OFFSET))
