"""The file's own graph of 8-bit integers, brought into plain form: `input`, float32 with a free batch, and `logits`.

What the scores mean was found on the float network, so `logits` may be a tensor that only the float network has, such
as what a Softmax on integers reads. Its last nodes then follow the file's own graph, from the tensors on that both
have: floats of the same name, or integers of which DequantizeLinear makes the floats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.graph.branches import names_read
from export.graph.edits import keep_only, rename_tensors
from export.graph.errors import UnsupportedGraph
from export.graph.names import INPUT, LOGITS, OWN, renamed
from export.importing.types.integers import Integers

PER_BATCH = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul"}
"""Operators that take one scale from all samples of a batch, so that samples mix."""


@dataclass(frozen=True)
class OwnGraph:
    """The file's graph, what its `integers` stand for, and tensors of it that are `unlike` the float network's."""

    model: ModelProto
    integers: Mapping[str, Integers]
    unlike: Collection[str]

    def up_to(self, tensor: str, network: ModelProto) -> ModelProto:
        """Return the file's graph with `tensor` of the float `network` as its one output.

        Raises UnsupportedGraph where the two have no tensor in common that leads to it.
        """
        copy = ModelProto()
        copy.CopyFrom(self.model)
        graph = copy.graph
        made = {name: node for node in network.graph.node for name in node.output}
        stored = {entry.name: entry for entry in network.graph.initializer}
        have = {value.name for value in (*graph.input, *graph.initializer)}
        have |= {name for node in graph.node for name in node.output}
        have -= {*self.integers, *self.unlike}
        added: list[NodeProto] = []
        constants: dict[str, TensorProto] = {}
        self._follow(tensor, have, made, stored, added, constants)
        again = {name for node in added for name in node.output}
        own = [node for node in self.model.graph.node if not again.intersection(node.output)]
        del graph.node[:]
        graph.node.extend([*own, *added])
        graph.initializer.extend(constants.values())
        return keep_only(copy, tensor)

    def _follow(
        self,
        tensor: str,
        have: set[str],
        made: Mapping[str, NodeProto],
        stored: Mapping[str, TensorProto],
        added: list[NodeProto],
        constants: dict[str, TensorProto],
    ) -> None:
        """Add what makes `tensor` of the float network from tensors that the file has."""
        if tensor in have:
            return
        have.add(tensor)
        integers = tensor.removesuffix(f"{OWN}float")
        if tensor in stored:
            constants[tensor] = stored[tensor]
        elif integers != tensor and integers in self.integers and integers not in self.unlike:
            added.append(self._dequantized(integers, tensor, constants))
        elif tensor in made:
            for name in names_read([made[tensor]]):
                self._follow(name, have, made, stored, added, constants)
            added.append(made[tensor])
        else:
            raise UnsupportedGraph(f"the file's own graph has no tensor {tensor!r}; please report it")

    def _dequantized(self, integers: str, tensor: str, constants: dict[str, TensorProto]) -> NodeProto:
        meaning = self.integers[integers]
        names = [f"{tensor}{OWN}step", f"{tensor}{OWN}nought"]
        for name, value in zip(names, (meaning.step, meaning.nought), strict=True):
            constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return helper.make_node("DequantizeLinear", [integers, *names], [tensor], tensor, axis=meaning.axis)


def batch_of(model: ModelProto) -> int | None:
    """Return the batch that a model was exported for, None where it is free."""
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    return (dimensions[0].dim_value if dimensions else 0) or None


def mixes_samples(model: ModelProto) -> bool:
    """Tell whether the model takes one scale from all samples of a batch."""
    return any(node.op_type in PER_BATCH for node in model.graph.node)


def with_plain_ends(model: ModelProto, image_shape: Sequence[int], classes: int, *, one_by_one: bool) -> ModelProto:
    """Return `model`, of one output, with the ends of our graphs: float32 `input`, a free batch, `logits` [N, classes].

    With `one_by_one` a Scan runs it sample by sample, in a batch of copies where it was exported for a larger batch.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    rename_tensors(graph, {name: renamed(name, taken) for name in (INPUT, LOGITS) if name in taken})
    image = graph.input[0]
    batch = batch_of(model) or 1 if one_by_one else None
    ends = _Ends(image.name, graph.output[0].name, batch, tuple(image_shape), classes)
    nodes = [*ends.before(image.type.tensor_type.elem_type), *graph.node, *ends.behind()]
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in ends.constants.items())
    if one_by_one:
        sample = helper.make_tensor_value_info(ends.source, TensorProto.FLOAT, image_shape)
        row = helper.make_tensor_value_info(ends.result, TensorProto.FLOAT, [classes])
        # Only with its weights inside does ONNX Runtime compute it with integers, as it does the file.
        body = helper.make_graph(nodes, "sample", [sample], [row], graph.initializer)
        del graph.initializer[:]
        nodes = [helper.make_node("Scan", [INPUT], [LOGITS], "samples", body=body, num_scan_inputs=1)]
    for field in (graph.node, graph.input, graph.output, graph.value_info):
        del field[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *image_shape]))
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", classes]))
    return copy


class _Ends:
    """Nodes before and behind the file's own; `batch` is None where all samples run at once."""

    def __init__(self, image: str, scores: str, batch: int | None, shape: tuple[int, ...], classes: int) -> None:
        self.image, self.scores, self.batch, self.shape, self.classes = image, scores, batch, shape, classes
        self.source, self.result = (INPUT, LOGITS) if batch is None else (f"{INPUT}{OWN}sample", f"{LOGITS}{OWN}sample")
        self.constants: dict[str, NDArray[np.int64]] = {}

    def before(self, element: int) -> Iterator[NodeProto]:
        """Yield nodes from our input to the file's: a batch of one image, repeated where its batch is larger."""
        source = self.source
        if self.batch is not None:
            yield helper.make_node("Reshape", [source, self._sizes("one", 1, *self.shape)], [f"{INPUT}{OWN}one"])
            repeated = self._sizes("repeated", self.batch, *self.shape)
            yield helper.make_node("Expand", [f"{INPUT}{OWN}one", repeated], [f"{INPUT}{OWN}batch"])
            source = f"{INPUT}{OWN}batch"
        if element == TensorProto.FLOAT:
            yield helper.make_node("Identity", [source], [self.image])
            return
        yield helper.make_node("Round", [source], [f"{INPUT}{OWN}rounded"])
        yield helper.make_node("Cast", [f"{INPUT}{OWN}rounded"], [self.image], to=element)

    def behind(self) -> Iterator[NodeProto]:
        """Yield nodes from the file's scores to our logits: flat, and of one row where the batch has copies."""
        if self.batch is None:
            yield helper.make_node("Reshape", [self.scores, self._sizes("rows", -1, self.classes)], [self.result])
            return
        yield helper.make_node(
            "Reshape", [self.scores, self._sizes("rows", self.batch, self.classes)], [f"{LOGITS}{OWN}rows"]
        )
        yield helper.make_node("Gather", [f"{LOGITS}{OWN}rows", self._sizes("first")], [self.result], axis=0)

    def _sizes(self, name: str, *sizes: int) -> str:
        """Store sizes, or the number 0 where none is given."""
        self.constants[f"{LOGITS}{OWN}{name}_sizes"] = np.array(sizes or 0, dtype=np.int64)
        return f"{LOGITS}{OWN}{name}_sizes"
