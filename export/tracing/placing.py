"""Reading and writing at constant places of every sample, as a `Gather` along one axis of the places.

Such nodes count their places through the whole tensor: a `Gather` from all samples laid end to end,
`GatherND` and `ScatterND` with the number of the sample in front of every index. Where the places
are the same in every sample they become one `Gather`, which never reaches into another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from onnx import numpy_helper

from export.graph.errors import UnsupportedOperator
from export.graph.graph import Array, Node
from export.graph.names import OWN


class Traced(Protocol):
    """A walk at one batch size: it knows every tensor's shape, and the values of those that are constant."""

    batch: int
    values: dict[str, Array]

    def shape(self, name: str) -> tuple[int, ...]: ...


def placed(node: Node, traces: Sequence[Traced]) -> list[Node]:
    """The node rewritten; empty where there is nothing to rewrite."""
    if node.inputs and node.inputs[0] in traces[0].values:
        return []
    if node.operator == "Gather":
        return _samples_apart(node, traces)
    if node.operator == "GatherND" and not node.attribute("batch_dims", 0):
        return _read(node, traces)
    if node.operator == "ScatterND":
        return _written(node, traces)
    return []


def _samples_apart(node: Node, traces: Sequence[Traced]) -> list[Node]:
    """A `Gather` from all samples laid end to end that stays within each of them, as one along an axis of its own.

    So torch's newer exporter writes `as_strided`, which pooling to one position leaves behind where
    channels stand last.
    """
    if node.attribute("axis", 0) != 0:
        return []
    within: list[Array] = []
    for trace in traces:
        index, total = trace.values.get(node.inputs[1]), trace.shape(node.inputs[0])[0]
        if index is None or not index.ndim or len(index) != trace.batch or total % trace.batch:
            return []
        each = total // trace.batch
        first = np.arange(trace.batch).reshape(-1, *[1] * (index.ndim - 1)) * each
        within += list(index - first)
        if each != traces[0].shape(node.inputs[0])[0] // traces[0].batch or within[-1].min() < 0:
            return []
    if any(not np.array_equal(entry, within[0]) for entry in within) or within[0].max(initial=0) >= each:
        return []
    parts = _Parts(node)
    samples = parts.reshaped(node.inputs[0], [-1, each, *traces[0].shape(node.inputs[0])[1:]])
    index_name = parts.constant("within", within[0])
    return [*parts.nodes, replace(node, inputs=(samples, index_name), attributes={**node.attributes, "axis": 1})]


def _read(node: Node, traces: Sequence[Traced]) -> list[Node]:
    """A `GatherND` as a `Gather` along all the axes at once that its indices count."""
    found = _places(node, traces)
    if found is None:
        return []
    places, size, lead, rest = found
    parts = _Parts(node)
    flat = parts.reshaped(node.inputs[0], [*lead, size, *rest])
    index = parts.constant("places", places)
    return [*parts.nodes, Node("Gather", (flat, index), node.outputs, {"axis": len(lead)}, node.name)]


def _written(node: Node, traces: Sequence[Traced]) -> list[Node]:
    """A `ScatterND` as a `Gather` from its data with the updates behind them: every place takes its last update."""
    found = _places(node, traces)
    if found is None:
        return []
    if node.attribute("reduction", "none") != "none":
        raise UnsupportedOperator(
            node.operator, node.name, "it combines what it writes with what was there", "add a tensor of zeros instead"
        )
    places, size, lead, rest = found
    axis = len(lead)
    parts = _Parts(node)
    data = parts.reshaped(node.inputs[0], [*lead, size, *rest])
    updates = parts.reshaped(node.inputs[2], [*lead, places.size, *rest])
    both = parts.add("Concat", (data, updates), axis=axis)
    chosen = parts.add("Gather", (both, parts.constant("source", sources(places, size))), axis=axis)
    low, high = (trace.shape(node.inputs[0]) for trace in traces)
    shape = parts.constant("shape", np.array([-1 if a != b else a for a, b in zip(low, high, strict=True)]))
    return [*parts.nodes, Node("Reshape", (chosen, shape), node.outputs, {}, node.name)]


def _places(node: Node, traces: Sequence[Traced]) -> tuple[Array, int, list[int], list[int]] | None:
    """Flat places within the axes that the indices count, how many there are, and the axes before and behind.

    The samples are either not counted, or counted first: then `before` is [-1], the samples' own axis.
    """
    indices = [trace.values.get(node.inputs[1]) for trace in traces]
    if any(index is None for index in indices):
        return None
    shapes = [trace.shape(node.inputs[0]) for trace in traces]
    depth = indices[0].shape[-1]  # type: ignore[union-attr]
    counted, behind = shapes[0][:depth], shapes[0][depth:]
    rest = [-1 if a != b else a for a, b in zip(behind, shapes[1][depth:], strict=True)]
    if np.array_equal(indices[0], indices[1]) and counted == shapes[1][:depth]:  # type: ignore[arg-type]
        return flat_places(indices[0], counted), math.prod(counted), [], rest  # type: ignore[arg-type]
    within = []
    for trace, shape, index in zip(traces, shapes, indices, strict=True):
        assert index is not None
        if depth < 2 or shape[0] != trace.batch or index.ndim < 2 or len(index) != trace.batch:
            return None
        samples = np.arange(trace.batch).reshape(-1, *[1] * (index.ndim - 2))
        if (index[..., 0] != samples).any():
            return None
        within += list(index[..., 1:])
    if any(not np.array_equal(entry, within[0]) for entry in within):
        return None
    return flat_places(within[0], counted[1:]), math.prod(counted[1:]), [-1], rest


def flat_places(index: Array, sizes: tuple[int, ...]) -> Array:
    """[…, depth] → the flat place in `sizes`; negative entries count from behind."""
    places = np.moveaxis(index, -1, 0) % np.array(sizes).reshape(-1, *[1] * (index.ndim - 1))
    return np.asarray(np.ravel_multi_index(tuple(places), sizes), dtype=np.int64)


def sources(places: Array, size: int) -> Array:
    """[size]: which of `size` entries with the updates behind them every place takes, the last update where several."""
    source = np.arange(size)
    source[places.reshape(-1)] = size + np.arange(places.size)
    return source


class _Parts:
    """The nodes in front of a rewritten one, named after it."""

    def __init__(self, node: Node) -> None:
        self._stem = node.name
        self.nodes: list[Node] = []

    def add(self, operator: str, inputs: tuple[str, ...], **attributes: int) -> str:
        name = f"{self._stem}{OWN}{operator}_{len(self.nodes)}"
        self.nodes.append(Node(operator, inputs, (name,), attributes, name))
        return name

    def constant(self, kind: str, value: Array) -> str:
        name = f"{self._stem}{OWN}{kind}_{len(self.nodes)}"
        array = numpy_helper.from_array(np.asarray(value, dtype=np.int64))
        self.nodes.append(Node("Constant", (), (name,), {"value": array}, name))
        return name

    def reshaped(self, tensor: str, shape: list[int]) -> str:
        return self.add("Reshape", (tensor, self.constant("target", np.array(shape, dtype=np.int64))))
