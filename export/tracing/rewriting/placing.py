"""Nodes that read or write at constant places of every sample, rewritten as a `Gather` along one axis.

Such nodes count their places through the whole tensor: `Gather` through all samples laid end to end, `GatherND`
and `ScatterND` with the number of the sample in front of every index. Where the places are the same in every
sample, one `Gather` along an axis of places does the same, and no sample can reach into another.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from export.graph.errors import UnsupportedOperator
from export.graph.graph import Array, Batch, N, Node, Shape, static
from export.tracing.rewriting.parts import Parts
from export.tracing.walk import Walk


def as_gather(walk: Walk, node: Node) -> list[Node]:
    """Return the nodes that replace one which reads or writes at constant places; none for any other node."""
    if node.inputs and node.inputs[0] in walk.traces[0].values:
        return []
    if node.operator == "Gather":
        return _samples_apart(walk, node)
    if node.operator == "GatherND" and not node.attribute("batch_dims", 0):
        return _read(walk, node)
    if node.operator == "ScatterND":
        return _written(walk, node)
    return _compressed(walk, node) if node.operator == "Compress" else []


def _compressed(walk: Walk, node: Node) -> list[Node]:
    """Rewrite a `Compress` by a constant condition along an axis: a `Gather` of the entries that it keeps."""
    axis, condition = node.attribute("axis"), walk.traces[0].values.get(node.inputs[1])
    if axis is None or condition is None:
        return []
    parts = Parts(node)
    kept = parts.constant(np.flatnonzero(condition))
    return [*parts.nodes, Node("Gather", (node.inputs[0], kept), node.outputs, {"axis": axis}, node.name)]


def _samples_apart(walk: Walk, node: Node) -> list[Node]:
    """Rewrite a `Gather` from all samples laid end to end that stays within each of them: a `Gather` along axis 1.

    torch's newer exporter writes `as_strided` so, which pooling to one position leaves behind where the channels
    are the last axis.
    """
    rows = walk.shape(node.inputs[0])[0] if node.attribute("axis", 0) == 0 else None
    if not isinstance(rows, Batch):
        return []
    each = rows.before * rows.after
    within: list[Array] = []
    for trace in walk.stated:
        index = trace.values.get(node.inputs[1])
        if index is None or not index.ndim or len(index) != trace.batch:
            return []
        first = np.arange(trace.batch).reshape(-1, *[1] * (index.ndim - 1)) * each
        within += list(index - first)
    if any(not np.array_equal(entry, within[0]) for entry in within):
        return []
    if within[0].min(initial=0) < 0 or within[0].max(initial=0) >= each:
        return []
    parts = Parts(node)
    samples = parts.reshaped(node.inputs[0], [-1, each, *static(walk.shape(node.inputs[0])[1:])])
    index_name = parts.constant(within[0])
    return [*parts.nodes, replace(node, inputs=(samples, index_name), attributes={**node.attributes, "axis": 1})]


def _read(walk: Walk, node: Node) -> list[Node]:
    """Rewrite a `GatherND` as a `Gather` along one axis, made of all axes that its indices count."""
    found = _places(walk, node)
    if found is None:
        return []
    places, size, lead, rest = found
    parts = Parts(node)
    flat = parts.reshaped(node.inputs[0], [*lead, size, *rest])
    index = parts.constant(places)
    return [*parts.nodes, Node("Gather", (flat, index), node.outputs, {"axis": len(lead)}, node.name)]


def _written(walk: Walk, node: Node) -> list[Node]:
    """Rewrite a `ScatterND` as a `Gather` from its data and updates side by side.

    Every place takes the last update that is written to it, or else its own datum.
    """
    found = _places(walk, node)
    if found is None:
        return []
    if node.attribute("reduction", "none") != "none":
        raise UnsupportedOperator(
            node.operator, node.name, "it combines what it writes with what was there", "add a tensor of zeros instead"
        )
    places, size, lead, rest = found
    axis = len(lead)
    parts = Parts(node)
    data = parts.reshaped(node.inputs[0], [*lead, size, *rest])
    updates = parts.reshaped(node.inputs[2], [*lead, places.size, *rest])
    both = parts.add("Concat", data, updates, axis=axis)
    chosen = parts.add("Gather", both, parts.constant(_sources(places, size)), axis=axis)
    shape = parts.constant(np.array(_target(walk.shape(node.inputs[0]))))
    return [*parts.nodes, Node("Reshape", (chosen, shape), node.outputs, {}, node.name)]


def _places(walk: Walk, node: Node) -> tuple[Array, int, list[int], list[int]] | None:
    """Return flat places within the counted axes, the number of places there, and the axes before and behind those.

    The samples are either not counted by the indices, or counted first: then the axes before are [-1], the
    samples' own axis. Returns None where the places differ from sample to sample.
    """
    indices = [trace.values[node.inputs[1]] for trace in walk.stated if node.inputs[1] in trace.values]
    if len(indices) < len(walk.stated):
        return None
    shape = walk.shape(node.inputs[0])
    depth = indices[0].shape[-1]
    counted, rest = shape[:depth], _target(shape[depth:])
    if not any(isinstance(size, Batch) for size in counted):
        if any(not np.array_equal(index, indices[0]) for index in indices):
            return None
        return _flat_places(indices[0], static(counted)), math.prod(static(counted)), [], rest
    within: list[Array] = []
    for trace, index in zip(walk.stated, indices, strict=True):
        if depth < 2 or counted[0] != N or index.ndim < 2 or len(index) != trace.batch:
            return None
        samples = np.arange(trace.batch).reshape(-1, *[1] * (index.ndim - 2))
        if (index[..., 0] != samples).any():
            return None
        within += list(index[..., 1:])
    if any(not np.array_equal(entry, within[0]) for entry in within):
        return None
    return _flat_places(within[0], static(counted[1:])), math.prod(static(counted[1:])), [-1], rest


def _target(shape: Shape) -> list[int]:
    return [-1 if isinstance(size, Batch) else size for size in shape]


def _flat_places(index: Array, sizes: tuple[int, ...]) -> Array:
    """Return the flat place in `sizes` of each index of […, depth]; negative entries count from the end."""
    places = np.moveaxis(index, -1, 0) % np.array(sizes).reshape(-1, *[1] * (index.ndim - 1))
    return np.asarray(np.ravel_multi_index(tuple(places), sizes), dtype=np.int64)


def _sources(places: Array, size: int) -> Array:
    """Return [size]: for every place the entry that it takes, among `size` data with the updates behind them."""
    source = np.arange(size)
    source[places.reshape(-1)] = size + np.arange(places.size)
    return source
