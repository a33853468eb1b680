"""Pools whose last window would begin beyond the image."""

from __future__ import annotations

from dataclasses import replace

from export.graph.graph import Node
from export.tracing.walk import Walk


def with_windows_inside(walk: Walk, node: Node) -> list[Node]:
    """Return a pool without `ceil_mode` where that lets a window begin in the padding behind the image, else nothing.

    The standard says in words that such a window does not exist, and kernels leave it out, but the shape
    inference of onnx and of ONNX Runtime counts it. Padding up to the end of the last real window means the
    same and is unambiguous; averages do not count it unless `count_include_pad` is set.
    """
    uncounted = node.operator == "AveragePool" and not node.attribute("count_include_pad", 0)
    if not (node.operator == "MaxPool" or uncounted) or not node.attribute("ceil_mode", 0):
        return []
    sizes = walk.traces[0].shape(node.inputs[0])[2:]
    ones = [1] * len(sizes)
    strides, kernel = node.attribute("strides", ones), node.attribute("kernel_shape")
    pads = node.attribute("pads", [0] * 2 * len(sizes))
    begins, ends = list(pads[: len(sizes)]), list(pads[len(sizes) :])
    spans = [d * (k - 1) + 1 for d, k in zip(node.attribute("dilations", ones), kernel, strict=True)]
    beyond = False
    for axis, (size, stride, span) in enumerate(zip(sizes, strides, spans, strict=True)):
        count = -(-(size + begins[axis] + ends[axis] - span) // stride) + 1
        outside = (count - 1) * stride >= size + begins[axis]
        beyond = beyond or outside
        last = (count - 1 - outside) * stride + span
        ends[axis] = max(0, last - size - begins[axis])
    if not beyond:
        return []
    return [replace(node, attributes={**node.attributes, "ceil_mode": 0, "pads": [*begins, *ends]})]
