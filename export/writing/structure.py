"""What all versions of one architecture have in common: a graph without the numbers of its trained tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import external_data_helper, numpy_helper

from export.graph.parameters import DIFFERENCE, part_of
from service.contract.bundle_schema import GraphParameter


def structure_of(file: Path) -> tuple[str, tuple[GraphParameter, ...]]:
    """Return the structure of the graph in `file`, and its trained tensors in the order in which they are read.

    The structure is a sha256 of operators, attributes, wiring, shapes and untrained numbers, in the order of the nodes.
    Names do not count, but for those of inputs and outputs.
    """
    model = onnx.load(file, load_external_data=False)
    reading = _Reading(model, file.parent)
    digest = hashlib.sha256()
    for line in reading.lines():
        digest.update(line + b"\n")
    return digest.hexdigest(), tuple(reading.parameters)


class _Reading:
    """One reading of a graph from its inputs to its outputs, which numbers tensors as they come."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self._model, self._folder = model, folder
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._numbers: dict[str, bytes] = {"": b"-"}
        self.parameters: list[GraphParameter] = []

    def lines(self) -> Iterator[bytes]:
        graph = self._model.graph
        yield repr(sorted((entry.domain, entry.version) for entry in self._model.opset_import)).encode()
        for value in graph.input:
            self._numbers[value.name] = value.name.encode()
            yield value.SerializeToString(deterministic=True)
        for node in graph.node:
            for name in node.input:
                if name not in self._numbers:
                    yield self._of_constant(self._tensors[name])
            bare = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
            bare.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
            wiring = [self._numbers[name] for name in node.input]
            for name in node.output:
                self._numbers[name] = f"{len(self._numbers)}".encode() if name else b"-"
            yield b" ".join([bare.SerializeToString(deterministic=True), *wiring, b"->", *self._of_outputs(node)])
        yield from (name.name.encode() + b" " + self._numbers[name.name] for name in graph.output)

    def _of_outputs(self, node: onnx.NodeProto) -> Iterator[bytes]:
        return (self._numbers[name] for name in node.output)

    def _of_constant(self, tensor: onnx.TensorProto) -> bytes:
        self._numbers[tensor.name] = f"{len(self._numbers)}".encode()
        kind = f"{tensor.data_type} {list(tensor.dims)} "
        if (part := part_of(tensor)) is None:
            value = numpy_helper.to_array(tensor, str(self._folder))
            return f"{kind} {hashlib.sha256(value.tobytes()).hexdigest()}".encode()
        if tensor.name.endswith(DIFFERENCE):
            of = tensor.name.removesuffix(DIFFERENCE)
            return kind.encode() + b"difference of " + self._numbers.get(of, b"")
        place = external_data_helper.ExternalDataInfo(tensor)
        self.parameters.append(
            GraphParameter(
                name=tensor.name,
                difference=f"{tensor.name}{DIFFERENCE}",
                offset=place.offset or 0,
                shape=tuple(tensor.dims),
                part=part,
            )
        )
        return kind.encode() + b"trained"
