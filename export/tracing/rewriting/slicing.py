"""A `Slice` that takes whole axes, rewritten as the tensor itself."""

from __future__ import annotations

from export.graph.graph import Array, Node
from export.tracing.walk import Walk


def as_identity(walk: Walk, node: Node) -> list[Node]:
    """Return an `Identity` for such a node; none for any other node.

    An exporter writes it to the end of the samples, a number that depends on the batch.
    """
    if node.operator != "Slice" or node.inputs[0] in walk.traces[0].values:
        return []
    for trace in walk.traces:
        bounds = [trace.values.get(name) if name else None for name in node.inputs[1:]]
        if any(bound is None and name for bound, name in zip(bounds, node.inputs[1:], strict=True)):
            return []
        if not _takes_all(trace.shape(node.inputs[0]), *bounds):
            return []
    return [Node("Identity", node.inputs[:1], node.outputs, {}, node.name)]


def _takes_all(
    shape: tuple[int, ...],
    starts: Array | None,
    ends: Array | None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> bool:
    assert starts is not None
    assert ends is not None
    count = len(starts)
    places = zip(
        starts.tolist(),
        ends.tolist(),
        range(count) if axes is None else axes.tolist(),
        [1] * count if steps is None else steps.tolist(),
        strict=True,
    )
    return all(step == 1 and range(shape[axis])[start:end] == range(shape[axis]) for start, end, axis, step in places)
