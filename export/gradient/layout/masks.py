"""The mask of a rectifier's gradient."""

from __future__ import annotations

import numpy as np

from export.gradient.layout.passes import Layout, rewrites
from export.graph.graph import Node, static


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
    # 1e38·y reaches 1 for every normal number: HardSigmoid is 1 above 0 and 0 at it.
    return g.mul(dy, g.op("HardSigmoid", y, alpha=1e38, beta=0.0))
