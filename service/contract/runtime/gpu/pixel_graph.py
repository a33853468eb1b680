"""A graph that turns pixels into the tensor `input` on the device, so that bytes cross to it instead of floats.

A pixel has 256 values, so a table of 256 numbers per channel holds all that `normalise` can give. The graph looks each
pixel up in that table: its results equal `normalise` bit for bit on every device, whatever its division rounds to.

The serving process has no onnx; a model of a few nodes is few fields of protocol buffers, which are written here. Their
numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Pixels

Layout = Literal["nchw", "nhwc"]

LEVELS: Final = 256
"""Values that a pixel of 8 bits can have."""

FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7  # TensorProto.DataType
_INT, _INTS = 2, 7  # AttributeProto.AttributeType


@dataclass(frozen=True, eq=False)
class PixelTable:
    """All values that the tensor `input` can have: `values` [c, 256] float32, by channel of the tensor and pixel."""

    values: NDArray[np.float32]
    order: tuple[int, ...]
    """Channel of the pixels that each channel of the tensor is made of."""
    layout: Layout


@dataclass(frozen=True)
class PixelFeed:
    """Pixels in place of the tensor `input`: parts of uint8 [n, h, w, c], which together are the batch."""

    parts: tuple[Pixels, ...]
    table: PixelTable

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The shape of the tensor `input`."""
        height, width, channels = self.parts[0].shape[1:]
        image = (channels, height, width) if self.table.layout == "nchw" else (height, width, channels)
        return (len(self), *image)


def pixel_model(layout: Layout) -> bytes:
    """Return the graph for a layout as an ONNX model.

    Inputs: `pixels` uint8 [n, h, w, c]; `order` int64 [c]; `start` int32, [c, 1, 1] or [c], where each channel's part
    of the table begins; `table` float32 [256 · c]. Output: `input` float32.
    """
    axes = (0, 3, 1, 2) if layout == "nchw" else (0, 1, 2, 3)
    nodes = (
        _node("Gather", ("pixels", "order"), "ordered", _integer("axis", 3)),
        _node("Transpose", ("ordered",), "placed", _integers("perm", axes)),
        _node("Cast", ("placed",), "whole", _integer("to", INT32)),
        _node("Add", ("whole", "start"), "entry"),
        _node("Gather", ("table", "entry"), "input", _integer("axis", 0)),
    )
    inputs = (
        _tensor("pixels", UINT8, ("n", "h", "w", "c")),
        _tensor("order", INT64, ("c",)),
        _tensor("start", INT32, ("c", "1", "1") if layout == "nchw" else ("c",)),
        _tensor("table", FLOAT, ("entries",)),
    )
    output = _tensor("input", FLOAT, ("a", "b", "d", "e"))
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"pixels")
    graph += b"".join(_field(11, value) for value in inputs) + _field(12, output)
    opset = _field(1, b"") + _number(2, 17)
    return _number(1, 8) + _field(7, graph) + _field(8, opset)


def table_inputs(table: PixelTable) -> dict[str, NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float32]]:
    """Return the inputs of the graph that belong to a table, all but the pixels."""
    starts = np.arange(len(table.values), dtype=np.int32) * LEVELS
    return {
        "order": np.array(table.order, np.int64),
        "start": starts[:, None, None] if table.layout == "nchw" else starts,
        "table": table.values.reshape(-1),
    }


def _node(operator: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    fields = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    return fields + _field(4, operator.encode()) + b"".join(_field(5, attribute) for attribute in attributes)


def _integer(name: str, value: int) -> bytes:
    return _field(1, name.encode()) + _number(3, value) + _number(20, _INT)


def _integers(name: str, values: Sequence[int]) -> bytes:
    return _field(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, _INTS)


def _tensor(name: str, element: int, sizes: Sequence[str]) -> bytes:
    """Describe a tensor; a size is a number or the name of a size that is not known."""
    dimensions = (_number(1, int(size)) if size.isdigit() else _field(2, size.encode()) for size in sizes)
    shape = b"".join(_field(1, dimension) for dimension in dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, element) + _field(2, shape)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Write an unsigned number, seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
