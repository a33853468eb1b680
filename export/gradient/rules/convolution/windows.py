"""The places of the windows of convolutions and pools, with ONNX's defaults resolved."""

from __future__ import annotations

from dataclasses import dataclass

from export.graph.graph import Node, Shape, static


@dataclass(frozen=True)
class Window:
    """Windows along each spatial axis: sizes of input, output and kernel, stride, dilation, padding at both ends."""

    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Count the entries that the dilated kernel spans."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True))

    @property
    def reach(self) -> tuple[int, ...]:
        """Count the single steps by which the window can be moved from its first place."""
        axes = zip(self.sizes, self.begin, self.end, self.extent, strict=True)
        return tuple(size + begin + end - extent for size, begin, end, extent in axes)

    @property
    def is_pointwise(self) -> bool:
        """True where every output position reads only the input position of the same index."""
        return {*self.kernel, *self.strides} == {1} and not any((*self.begin, *self.end))


def window(node: Node, x_shape: Shape, y_shape: Shape, kernel: tuple[int, ...]) -> Window:
    """Return the windows of a node whose input and output have these shapes ([N, C, *positions])."""
    axes = len(kernel)
    sizes, outputs = static(x_shape[2:]), static(y_shape[2:])
    strides = tuple(node.attribute("strides") or [1] * axes)
    dilations = tuple(node.attribute("dilations") or [1] * axes)
    pads = list(node.attribute("pads") or [0] * (2 * axes))
    mode = node.attribute("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = [0] * (2 * axes)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(axes):
            extent = dilations[axis] * (kernel[axis] - 1) + 1
            total = max(0, (outputs[axis] - 1) * strides[axis] + extent - sizes[axis])
            smaller = total // 2
            begin = smaller if mode == "SAME_UPPER" else total - smaller
            pads[axis], pads[axes + axis] = begin, total - begin
    return Window(sizes, outputs, kernel, strides, dilations, tuple(pads[:axes]), tuple(pads[axes:]))
