"""Freeing: a graph that was exported for one fixed number of samples is made to take any number.

Exporters bake the batch into constants: `Reshape` targets, `Expand` and `Resize` sizes, `Slice` ends.
The walk traces the graph at the baked batch and at a larger one, and rewrites a node whose constants hold the
baked batch before the larger trace could stumble over it.

Where the baked batch is one, a `Reshape` target does not show which axis holds the samples. The order in memory
narrows it down: one sample's run of numbers is as long after the reshape as before. Among the axes that fit,
the choice is, in this order:

1. an axis of nothing but the batch: [1, C, 1, 1] → [1, C];
2. one that leaves all axes behind it as they were: [L, 1, C] → [L, C];
3. one in which the samples come first: [L, 1, C] → [L, heads, C/heads];
4. the last axis, which usually holds features.

The choice may be wrong, so whoever frees a graph must compare its answers with the baked one's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper

from export.graph.errors import UnsupportedOperator
from export.graph.graph import Array, Batch, Node, batch_axis, nodes_of
from export.graph.names import OWN
from export.tracing.folding import WALK_REWRITES, emit_batch_arithmetic
from export.tracing.trace import Trace
from export.tracing.walk import Walk

FREE_FACTOR = 7
"""The larger batch, as a multiple of the baked one: a size that grows by this factor does so for the batch's sake."""
END_OF_AXIS = np.iinfo(np.int64).max
ADVICE = "export the model with a free batch axis"


@dataclass(frozen=True)
class Fit:
    """An axis of a reshaped tensor that may hold the samples, with `before` · N · `after` entries."""

    axis: int
    before: int
    after: int


def baked_batch(model: ModelProto) -> int | None:
    """Return the number of samples the graph was exported for, None where it is free."""
    size: int = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return size if size > 0 else None


def free_batch(model: ModelProto, batch: int) -> ModelProto:
    """Return `model` with its constants folded and the first axis of its one input free instead of `batch`.

    Raises UnsupportedOperator or UnsupportedGraph where the samples cannot be told apart.
    """
    sizes = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    walk = _BakedWalk(model, sizes[1:], (batch, FREE_FACTOR * batch), (_unbaked, *WALK_REWRITES))
    graph = walk.run(nodes_of(model.graph))
    emit_batch_arithmetic(graph)
    freed = ModelProto()
    freed.CopyFrom(model)
    del freed.graph.node[:]
    del freed.graph.value_info[:]
    freed.graph.node.extend(node.to_proto() for node in graph.nodes)
    read = {name for node in graph.nodes for name in node.inputs} | {graph.output}
    read -= {tensor.name for tensor in model.graph.initializer}
    freed.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in graph.constants.items() if name in read
    )
    freed.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    for dimension in freed.graph.output[0].type.tensor_type.shape.dim:
        dimension.Clear()
    return freed


class _BakedWalk(Walk):
    """A walk over nodes whose constants hold the first trace's number of samples; it refuses to lose samples."""

    @property
    def stated(self) -> Sequence[Trace]:
        return self.traces[:1]

    def _append(self, node: Node) -> None:
        super()._append(node)
        given = any(batch_axis(shape) is not None for shape in self.computed_shapes(node))
        if given and any(batch_axis(self.graph.shapes[name]) is None for name in node.outputs if name):
            raise _refusal(node, "its output does not have one axis for the samples")


def _unbaked(walk: Walk, node: Node) -> list[Node]:
    """Return the nodes that replace one whose constants hold the batch; none for any other node."""
    if node.operator == "Concat":
        return _repeated(walk, node)
    rule = RULES.get(node.operator)
    if rule is None:
        return []
    axis = batch_axis(walk.shape(node.inputs[0]))
    return [] if axis is None else rule(walk, node, axis)


def _reshape(walk: Walk, node: Node, axis: int) -> list[Node]:
    if node.inputs[1] in walk.graph.batch_linear:
        return []
    baked = walk.traces[0]
    baked.infer(node)
    target = baked.shape(node.outputs[0])
    fit = _chosen(walk, node, axis, target)
    free = np.array([-1 if at == fit.axis else size for at, size in enumerate(target)], dtype=np.int64)
    attributes = {name: value for name, value in node.attributes.items() if name != "allowzero"}
    return _with_operand(walk, replace(node, attributes=attributes), 1, free)


def _chosen(walk: Walk, node: Node, axis: int, target: tuple[int, ...]) -> Fit:
    """Choose the axis of a reshaped tensor that holds the samples, as the module's docstring says."""
    batch, source = walk.traces[0].batch, walk.shape(node.inputs[0])
    place = source[axis]
    assert isinstance(place, Batch)
    behind = tuple(size for size in source[axis + 1 :] if isinstance(size, int))
    run = place.after * math.prod(behind)
    fits = []
    for candidate, size in enumerate(target):
        inner = math.prod(target[candidate + 1 :])
        after = run // inner if inner and run % inner == 0 else 0
        if after and size % (batch * after) == 0:
            fits.append(Fit(candidate, size // (batch * after), after))
    if not fits:
        raise _refusal(node, f"the batch {batch} is spread over axes of {list(target)}")
    pure = [fit for fit in fits if fit.before == fit.after == 1]
    same = [fit for fit in pure if fit.axis == axis]
    kept = [fit for fit in fits if fit.after == 1 and target[fit.axis + 1 :] == behind]
    leading = [fit for fit in fits if fit.axis < len(target) - 1]
    outer = [fit for fit in leading if fit.before == 1]
    return (same or pure or kept or outer or leading or fits)[0]


def _expand(walk: Walk, node: Node, axis: int) -> list[Node]:
    target = _operand(walk, node, 1)
    behind = axis + len(target) - len(walk.shape(node.inputs[0]))  # sizes are aligned from the last on
    free = [1 if position == behind else size for position, size in enumerate(target)]
    return _with_operand(walk, node, 1, np.array(free, dtype=np.int64))


def _slice(walk: Walk, node: Node, batch_at: int) -> list[Node]:
    starts, ends = _operand(walk, node, 1), _operand(walk, node, 2).copy()
    axes = _operand(walk, node, 3) if node.input(3) else np.arange(len(starts))
    baked = walk.traces[0].shape(node.inputs[0])
    for position, axis in enumerate(axes):
        if axis % len(baked) == batch_at:
            if starts[position] != 0 or ends[position] < baked[batch_at]:
                raise _refusal(node, "it takes some samples of the batch and leaves others")
            ends[position] = END_OF_AXIS
    return _with_operand(walk, node, 2, ends)


def _resize(walk: Walk, node: Node, batch_at: int) -> list[Node]:
    """Leave out the size of the samples' axis."""
    if not node.input(3):
        return []
    rank = len(walk.shape(node.inputs[0]))
    axes = node.attribute("axes") or list(range(rank))
    kept = [position for position, axis in enumerate(axes) if axis % rank != batch_at]
    named = replace(node, attributes={**node.attributes, "axes": [axes[position] for position in kept]})
    return _with_operand(walk, named, 3, _operand(walk, node, 3)[kept])


def _repeated(walk: Walk, node: Node) -> list[Node]:
    """Repeat those operands of a Concat that hold no samples, such as a class token, for every sample."""
    shapes = [walk.shape(name) for name in node.inputs]
    whole = next((shape for shape in shapes if batch_axis(shape) is not None), None)
    if whole is None:
        return []
    nodes: list[Node] = []
    operands = list(node.inputs)
    for index, shape in enumerate(shapes):
        if batch_axis(shape) is None:
            operands[index] = f"{node.outputs[0]}{OWN}operand_{index}"
            nodes += _copies(walk, node, node.inputs[index], whole, operands[index])
    return [*nodes, replace(node, inputs=tuple(operands))] if nodes else []


def _copies(walk: Walk, node: Node, name: str, whole: tuple[Any, ...], copies: str) -> list[Node]:
    """Return nodes that repeat the operand `name` of a Concat for every sample, as the tensor `copies`.

    `whole` is the shape of an operand that holds samples.
    """
    axis, batch = batch_axis(whole), walk.traces[0].batch
    shape = walk.traces[0].shape(name)
    assert axis is not None
    if whole[axis] != Batch() or shape[axis] != batch:
        raise _refusal(node, f"operand {name!r} has no axis for the samples")
    nodes: list[Node] = []
    row = name
    if name in walk.graph.constants and batch > 1:
        value = walk.graph.constants[name]
        first = np.take(value, [0], axis=axis)
        if not (value == first).all():
            raise _refusal(node, f"constant {name!r} differs from sample to sample of the baked batch")
        row = f"{copies}_first"
        nodes.append(_stored(row, first))
    count, target = f"{copies}_samples", f"{copies}_shape"
    nodes.append(Node("Shape", (walk.graph.input,), (count,), {"start": 0, "end": 1}, count))
    sides = (shape[:axis], shape[axis + 1 :])
    nodes += [_stored(f"{target}_{side}", np.array(sizes, dtype=np.int64)) for side, sizes in enumerate(sides)]
    parts = (f"{target}_0", count, f"{target}_1")
    nodes.append(Node("Concat", parts, (target,), {"axis": 0}, target))
    return [*nodes, Node("Expand", (row, target), (copies,), {}, copies)]


RULES: dict[str, Callable[[Walk, Node, int], list[Node]]] = {
    "Reshape": _reshape,
    "Expand": _expand,
    "Slice": _slice,
    "Resize": _resize,
}
"""Rewrites of operators whose first operand holds the samples; the last argument is the axis of the samples."""


def _operand(walk: Walk, node: Node, index: int) -> Array:
    """Return the value that an operand has at the baked batch."""
    name = node.inputs[index]
    if name not in walk.traces[0].values:
        raise _refusal(node, f"its operand {name!r} is computed from the image")
    return walk.traces[0].values[name]


def _with_operand(walk: Walk, node: Node, index: int, value: Array) -> list[Node]:
    """Return the node with another constant operand, or nothing where it has that value already.

    The walk meets the rewritten node again, and must then find nothing to rewrite.
    """
    current = walk.graph.constants.get(node.inputs[index])
    if current is not None and np.array_equal(current, value):
        return []
    name = f"{node.outputs[0]}{OWN}operand_{index}"
    operands = tuple(name if position == index else operand for position, operand in enumerate(node.inputs))
    return [_stored(name, value), replace(node, inputs=operands)]


def _stored(name: str, value: Array) -> Node:
    return Node("Constant", (), (name,), {"value": numpy_helper.from_array(value, name)}, name)


def _refusal(node: Node, reason: str) -> UnsupportedOperator:
    return UnsupportedOperator(node.operator, node.name, reason, ADVICE)
