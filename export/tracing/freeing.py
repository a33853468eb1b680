"""A graph exported for one fixed number of samples, made to take any number.

Exporters bake the batch into constants: `Reshape` targets, `Expand` and `Resize` sizes, `Slice` ends.
The walk below follows each tensor at two batch sizes, the baked one and a free one, knows in which
axis the samples lie, and rewrites just the constants that hold the batch.

A batch of one leaves it open which axis of a `Reshape` target holds the samples. Memory order
narrows it: one sample's run of numbers is as long after the reshape as before. Of the axes that fit,
an axis of just the batch comes first ([1, C, 1, 1] → [1, C]), then one that leaves all axes behind it
as they were ([L, 1, C] → [L, C]), then one that the samples lead ([L, 1, C] → [L, heads, C/heads]);
the last axis, of features, comes last.
`export.importing.agreement` then runs both graphs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TypeProto, defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import infer_node_outputs

from export.graph.branches import taken
from export.graph.errors import UnsupportedOperator
from export.graph.graph import IR_VERSION, OPSET
from export.graph.names import OWN
from export.tracing.placing import flat_places, sources

Array = NDArray[Any]

FREE_FACTOR = 7  # the free trace runs at this many times the baked batch
END_OF_AXIS = np.iinfo(np.int64).max
SHAPE_OPERAND_SIZE = 4096  # larger constants are never shapes, and inference would copy them
ADVICE = "export the model with a free batch axis"


@dataclass(frozen=True)
class Place:
    """Where the samples lie: axis `axis`, of `before · N · after` entries."""

    axis: int
    before: int = 1
    after: int = 1


def free_batch(model: ModelProto, batch: int) -> ModelProto:
    """`model` with the first axis of its one input free instead of `batch`.

    Raises UnsupportedOperator where the samples cannot be told apart.
    """
    return _Freeing(model, batch).model()


class _Trace:
    """Shapes and types of all tensors at one batch size, and the values of those that are constant."""

    def __init__(self) -> None:
        self.types: dict[str, TypeProto] = {}

    def know(self, name: str, value: Array) -> None:
        element = helper.np_dtype_to_tensor_dtype(value.dtype)
        self.types[name] = helper.make_tensor_type_proto(element, value.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(dimension.dim_value for dimension in self.types[name].tensor_type.shape.dim)

    def infer(self, node: NodeProto, values: Mapping[str, Array]) -> None:
        operands = [name for name in node.input if name]
        small = {
            name: numpy_helper.from_array(values[name], name)
            for name in operands
            if name in values and values[name].size <= SHAPE_OPERAND_SIZE
        }
        try:
            found = infer_node_outputs(
                defs.get_schema(node.op_type, OPSET),
                node,
                {name: self.types[name] for name in operands},
                small,
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=IR_VERSION,
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise _refusal(node, f"its shape does not follow from the batch ({reason})") from error
        self.types.update(found)


class _Freeing:
    """One walk over the nodes; `nodes` is the freed graph as it grows."""

    def __init__(self, model: ModelProto, batch: int) -> None:
        graph = model.graph
        self._source, self._batch = model, batch
        self._image = graph.input[0].name
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._made: dict[str, Array] = {}
        self._nodes: list[NodeProto] = []
        self._places: dict[str, Place] = {self._image: Place(0)}
        self._baked, self._free = _Trace(), _Trace()
        for name, value in self._values.items():
            self._baked.know(name, value)
            self._free.know(name, value)
        image = graph.input[0].type.tensor_type
        sizes = [dimension.dim_value for dimension in image.shape.dim]
        self._baked.types[self._image] = helper.make_tensor_type_proto(image.elem_type, sizes)
        sizes[0] *= FREE_FACTOR
        self._free.types[self._image] = helper.make_tensor_type_proto(image.elem_type, sizes)
        for node in graph.node:
            self._walk(node)

    def model(self) -> ModelProto:
        freed = ModelProto()
        freed.CopyFrom(self._source)
        graph = freed.graph
        del graph.node[:]
        del graph.value_info[:]
        graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self._made.items() if name in read
        )
        graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        for dimension in graph.output[0].type.tensor_type.shape.dim:
            dimension.Clear()
        return freed

    def _walk(self, node: NodeProto) -> None:
        if node.op_type == "If" and node.input[0] in self._values:
            wanted = "then_branch" if self._values[node.input[0]].all() else "else_branch"
            branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
            for part in taken(branch, node.output, node.name):
                self._walk(part)
            return
        if self._fold(node):
            return
        self._baked.infer(node, self._values)
        for rewritten in self._rewrite(node):
            self._free.infer(rewritten, self._values)
            self._nodes.append(rewritten)
        for name in node.output:
            if name:
                self._place(node, name)

    def _fold(self, node: NodeProto) -> bool:
        """Shapes, and whatever follows from constants alone, become constants at the baked batch."""
        if node.op_type in ("Shape", "Size") and node.input[0] in self._baked.types:
            shape = self._baked.shape(node.input[0])
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            part = shape[bounds.get("start", 0) : bounds.get("end")]
            results = [np.array(part if node.op_type == "Shape" else math.prod(shape), dtype=np.int64)]
        elif all(name in self._values for name in node.input if name):
            results = _evaluate(node, self._values)
        else:
            return False
        for name, value in zip(node.output, results, strict=False):
            self._make(name, value)
        return True

    def _make(self, name: str, value: Array) -> str:
        self._values[name] = self._made[name] = value
        self._baked.know(name, value)
        self._free.know(name, value)
        return name

    def _rewrite(self, node: NodeProto) -> Iterator[NodeProto]:
        place = self._places.get(node.input[0]) if node.input else None
        if node.op_type == "Concat":
            yield from self._concat(node)
        elif place is None:
            yield node
        elif node.op_type == "Reshape":
            yield self._reshape(node, place)
        elif node.op_type == "Expand":
            yield self._expand(node, place)
        elif node.op_type == "Slice":
            yield self._slice(node, place)
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
            yield self._resize(node, place)
        elif node.op_type == "Gather" and place == Place(0, 1, place.after):
            yield from self._gather(node, place)
        elif node.op_type == "ScatterND" and place == Place(0) and node.input[2] in self._places:
            yield from self._scatter(node)
        else:
            yield node

    def _reshape(self, node: NodeProto, place: Place) -> NodeProto:
        target = list(self._baked.shape(node.output[0]))
        new = self._place_in(tuple(target), node, place)
        target[new.axis] = -1
        self._places[node.output[0]] = new
        return self._with_operand(node, 1, np.array(target, dtype=np.int64), attributes={"allowzero"})

    def _place_in(self, target: tuple[int, ...], node: NodeProto, place: Place) -> Place:
        """The axis of a reshaped tensor that holds the samples; see the module's docstring."""
        shape = self._baked.shape(node.input[0])
        stride = place.after * math.prod(shape[place.axis + 1 :])
        fits = []
        for axis, size in enumerate(target):
            inner = math.prod(target[axis + 1 :])
            after = stride // inner if inner and stride % inner == 0 else 0
            if after and size % (self._batch * after) == 0:
                fits.append(Place(axis, size // (self._batch * after), after))
        if not fits:
            raise _refusal(node, f"the batch {self._batch} is spread over axes of {list(target)}")
        pure = [fit for fit in fits if fit.before == fit.after == 1]
        kept = [fit for fit in fits if fit.after == 1 and target[fit.axis + 1 :] == shape[place.axis + 1 :]]
        leading = [fit for fit in fits if fit.axis < len(target) - 1]
        outer = [fit for fit in leading if fit.before == 1]
        same = [fit for fit in pure if fit.axis == place.axis]
        choices = same or pure or kept or outer or leading or fits
        return choices[0]

    def _expand(self, node: NodeProto, place: Place) -> NodeProto:
        target = self._constant(node, 1).copy()
        axis = place.axis + len(target) - len(self._baked.shape(node.input[0]))
        if axis >= 0:
            target[axis] = 1
        return self._with_operand(node, 1, target)

    def _slice(self, node: NodeProto, place: Place) -> NodeProto:
        starts, ends = self._constant(node, 1), self._constant(node, 2).copy()
        axes = self._constant(node, 3) if len(node.input) > 3 and node.input[3] else np.arange(len(starts))
        rank, size = len(self._baked.shape(node.input[0])), self._baked.shape(node.input[0])[place.axis]
        for position, axis in enumerate(axes):
            if axis % rank == place.axis:
                if starts[position] != 0 or ends[position] < size:
                    raise _refusal(node, "it takes some samples of the batch and leaves others")
                ends[position] = END_OF_AXIS
        return self._with_operand(node, 2, ends)

    def _resize(self, node: NodeProto, place: Place) -> NodeProto:
        """Sizes of the other axes only."""
        rank = len(self._baked.shape(node.input[0]))
        axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), list(range(rank)))
        kept = [position for position, axis in enumerate(axes) if axis % rank != place.axis]
        resized = self._with_operand(node, 3, self._constant(node, 3)[kept], attributes={"axes"})
        resized.attribute.append(helper.make_attribute("axes", [axes[position] for position in kept]))
        return resized

    def _gather(self, node: NodeProto, place: Place) -> Iterator[NodeProto]:
        """From samples laid end to end, each within itself: along an axis of its own (torch's `as_strided`)."""
        index, axis = self._values.get(node.input[1]), next((a.i for a in node.attribute if a.name == "axis"), 0)
        if axis != 0 or index is None or not index.ndim or len(index) != self._batch:
            yield node
            return
        within = index - np.arange(self._batch).reshape(-1, *[1] * (index.ndim - 1)) * place.after
        if (within != within[0]).any() or within.min() < 0 or within.max() >= place.after:
            raise _refusal(node, "it takes entries of one sample into another")
        apart = f"{node.output[0]}{OWN}samples"
        sizes = [-1, place.after, *self._baked.shape(node.input[0])[1:]]
        target = self._make(f"{apart}_shape", np.array(sizes, dtype=np.int64))
        yield helper.make_node("Reshape", [node.input[0], target], [apart], name=apart)
        rows = self._make(f"{apart}_rows", within[0])
        yield helper.make_node("Gather", [apart, rows], node.output, name=node.name, axis=1)

    def _scatter(self, node: NodeProto) -> Iterator[NodeProto]:
        """Updates at baked places of every sample, written at the same places of any number: a `Gather` from both."""
        index, shape = self._values.get(node.input[1]), self._baked.shape(node.input[0])
        if index is None or index.ndim < 2 or index.shape[-1] < 2 or len(index) != self._batch:
            yield node
            return
        if any(attribute.s != b"none" for attribute in node.attribute):
            raise _refusal(node, "it combines what it writes with what was there")
        samples = np.arange(self._batch).reshape(-1, *[1] * (index.ndim - 2))
        if (index[..., 0] != samples).any() or (index[..., 1:] != index[:1, ..., 1:]).any():
            raise _refusal(node, "it writes into samples otherwise than into each alike")
        depth = index.shape[-1]
        counted, rest = shape[1:depth], shape[depth:]
        places, size, stem = flat_places(index[0, ..., 1:], counted), math.prod(counted), node.output[0]
        flat: list[str] = []
        for operand, count in ((node.input[0], size), (node.input[2], places.size)):
            target = self._make(f"{stem}_{count}_{len(flat)}_shape", np.array([-1, count, *rest], dtype=np.int64))
            flat.append(f"{stem}_part_{len(flat)}")
            yield helper.make_node("Reshape", [operand, target], flat[-1:], name=flat[-1])
        yield helper.make_node("Concat", flat, [f"{stem}_both"], name=f"{stem}_both", axis=1)
        chosen = self._make(f"{stem}_source", sources(places, size))
        yield helper.make_node("Gather", [f"{stem}_both", chosen], [f"{stem}_flat"], name=f"{stem}_flat", axis=1)
        whole = self._make(f"{stem}_shape", np.array([-1, *shape[1:]], dtype=np.int64))
        yield helper.make_node("Reshape", [f"{stem}_flat", whole], node.output, name=node.name)

    def _concat(self, node: NodeProto) -> Iterator[NodeProto]:
        """Operands without samples (a class token) are repeated for every sample."""
        place = next((self._places[name] for name in node.input if name in self._places), None)
        if place is None:
            yield node
            return
        copy = NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name not in self._places:
                copy.input[index] = f"{node.output[0]}{OWN}operand_{index}"
                yield from self._repeat(node, name, place, copy.input[index])
        yield copy

    def _repeat(self, node: NodeProto, name: str, place: Place, per_sample: str) -> Iterator[NodeProto]:
        """The operand `name` of a Concat, once for every sample, as `per_sample`."""
        shape = self._baked.shape(name)
        if (place.before, place.after) != (1, 1) or shape[place.axis] != self._batch:
            raise _refusal(node, f"operand {name!r} has no axis for the samples")
        row = name
        if name in self._values and self._batch > 1:
            value = self._values[name]
            first = np.take(value, [0], axis=place.axis)
            if not (value == first).all():
                raise _refusal(node, f"constant {name!r} differs from sample to sample of the baked batch")
            row = self._make(f"{name}{OWN}first", first)
        count, target = f"{per_sample}_samples", f"{per_sample}_shape"
        around = [np.array(part, dtype=np.int64) for part in (shape[: place.axis], shape[place.axis + 1 :])]
        yield helper.make_node("Shape", [self._image], [count], name=count, start=0, end=1)
        parts = [self._make(f"{target}_{side}", part) for side, part in enumerate(around) if part.size]
        parts.insert(1 if around[0].size else 0, count)
        yield helper.make_node("Concat", parts, [target], name=target, axis=0)
        yield helper.make_node("Expand", [row, target], [per_sample], name=per_sample)
        sizes = list(shape)
        sizes[place.axis] *= FREE_FACTOR
        element = self._baked.types[name].tensor_type.elem_type
        self._free.types[per_sample] = helper.make_tensor_type_proto(element, sizes)
        self._places[per_sample] = Place(place.axis)

    def _with_operand(
        self, node: NodeProto, index: int, value: Array, attributes: set[str] | frozenset[str] = frozenset()
    ) -> NodeProto:
        """A copy of `node` with another constant operand, and without the named attributes."""
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[index] = self._make(f"{node.output[0]}{OWN}operand_{index}", value)
        kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
        del copy.attribute[:]
        copy.attribute.extend(kept)
        return copy

    def _constant(self, node: NodeProto, index: int) -> Array:
        if node.input[index] not in self._values:
            raise _refusal(node, f"its operand {node.input[index]!r} is computed from the image")
        return self._values[node.input[index]]

    def _place(self, node: NodeProto, name: str) -> None:
        baked, free = self._baked.shape(name), self._free.shape(name)
        if len(baked) != len(free):
            raise _refusal(node, "its rank depends on the batch")
        axes = [axis for axis, (a, b) in enumerate(zip(baked, free, strict=True)) if a != b]
        sources = [self._places[operand] for operand in node.input if operand in self._places]
        if name in self._places:
            axes = [self._places[name].axis] if axes == [self._places[name].axis] else []
        if not sources:
            return
        if len(axes) != 1 or free[axes[0]] != FREE_FACTOR * baked[axes[0]]:
            raise _refusal(node, "its output does not have one axis for the samples")
        if name not in self._places:
            per_sample = baked[axes[0]] // self._batch
            source = next((s for s in sources if s.before * s.after == per_sample), Place(0, 1, per_sample))
            self._places[name] = Place(axes[0], source.before, source.after)


def _evaluate(node: NodeProto, values: Mapping[str, Array]) -> list[Array]:
    operands = {name: values[name] for name in node.input if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in operands.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, operands)]
    except Exception as error:
        raise _refusal(node, f"its constant value cannot be computed ({error})") from error


def _refusal(node: NodeProto, reason: str) -> UnsupportedOperator:
    return UnsupportedOperator(node.op_type, node.name or node.output[0], reason, ADVICE)


def baked_batch(model: ModelProto) -> int | None:
    """The number of samples the graph was exported for, None where it is free."""
    size: int = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return size if size > 0 else None
