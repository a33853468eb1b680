"""The file of a bundle's weights, which all its graphs share."""

from __future__ import annotations

from onnx import TensorProto, external_data_helper, helper, numpy_helper

from export.graph.graph import Array
from export.graph.parameters import part_of
from service.contract.bundle_schema import WEIGHTS_FILE

SMALLEST_EXTERNAL = 256
"""Tensors of at least this many bytes are stored outside the graph. Smaller ones, such as the shape operand of
a Reshape, stay inside: outside, they would not be folded. Trained tensors that other numbers may be put in place of are
outside whatever their size: ONNX Runtime replaces no others."""
ALIGNMENT = 64
"""Bytes; every tensor in the weight file begins at a multiple of it."""
ENDS = 64
"""First and last bytes by which equal tensors are looked for."""


class WeightFile:
    """The content of `weights.bin`: tensors of several graphs, equal ones only once."""

    def __init__(self) -> None:
        self.content = bytearray()
        self._offsets: dict[tuple[int, bytes, bytes], list[int]] = {}

    def stored(self, array: Array, name: str) -> TensorProto:
        """Return a tensor of the array's numbers, which lie in this file if there are many; the array is contiguous."""
        if array.nbytes < SMALLEST_EXTERNAL:
            return numpy_helper.from_array(array, name)
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, dims=array.shape, data_type=element)
        self._refer(tensor, array.reshape(-1).data.cast("B"))
        return tensor

    def move(self, tensor: TensorProto, source: WeightFile | None = None) -> None:
        """Move the tensor's data into this file if they are many; those outside the tensor are in `source`."""
        if external_data_helper.uses_external_data(tensor) and source is not None:
            entry = external_data_helper.ExternalDataInfo(tensor)
            self._refer(tensor, memoryview(source.content)[entry.offset :][: entry.length])
            return
        if not tensor.HasField("raw_data"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
        data = tensor.raw_data
        if len(data) >= SMALLEST_EXTERNAL or part_of(tensor) is not None:
            tensor.ClearField("raw_data")
            self._refer(tensor, memoryview(data))

    def _refer(self, tensor: TensorProto, data: memoryview) -> None:
        """Let the tensor refer to its data in this file, and add them where no equal ones are there."""
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        place = {"location": WEIGHTS_FILE, "offset": self._offset(data), "length": len(data)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))

    def _offset(self, data: memoryview) -> int:
        """Return where such data begin; what has the same ends is compared whole, which takes less than a digest."""
        known = self._offsets.setdefault((len(data), bytes(data[:ENDS]), bytes(data[-ENDS:])), [])
        for offset in known:
            if self.content.startswith(data, offset):
                return offset
        self.content.extend(bytes(-len(self.content) % ALIGNMENT))
        known.append(len(self.content))
        self.content.extend(data)
        return known[-1]
