"""`Loop` and `Scan` whose number of steps is known, unrolled: the nodes of the body once for every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import GraphProto, helper

from export.graph.branches import defined_names
from export.graph.edits import rename_tensors
from export.graph.errors import UnsupportedOperator
from export.graph.graph import Batch, Node, nodes_of
from export.graph.names import OWN
from export.tracing.rewriting.parts import Parts
from export.tracing.walk import Walk

LONGEST = 512
"""Steps up to which a loop is unrolled."""
ADVICE = "export the model without control flow"


def unrolled_loop(walk: Walk, node: Node) -> list[Node]:
    """Walk through every step of a `Loop` or `Scan` and return the nodes that give its outputs; none for other nodes.

    Raises UnsupportedOperator where the image or the batch decides how many steps there are, or they are too many.
    """
    if node.operator == "Loop":
        return _loop(walk, node)
    return _scan(walk, node) if node.operator == "Scan" else []


def _loop(walk: Walk, node: Node) -> list[Node]:
    count, state = _known(walk, node, node.input(0), LONGEST + 1), list(node.inputs[1:])
    if not state[0]:
        state[0] = _given(walk, node, "goes on", np.array(True))
    body, rows, step = node.attribute("body"), list[list[str]](), 0
    while step < count and _known(walk, node, state[0], 1):
        if step == LONGEST:
            raise _refusal(node, f"it takes more than {LONGEST} steps")
        number = _given(walk, node, f"step_{step}", np.array(step, dtype=np.int64))
        outputs = _walked(walk, node, body, [number, *state], step)
        state, step = outputs[: len(state)], step + 1
        rows.append(outputs[len(state) :])
    return _results(node, state[1:], rows, [0] * len(rows[0]) if rows else [])


def _scan(walk: Walk, node: Node) -> list[Node]:
    body, scanned = node.attribute("body"), node.attribute("num_scan_inputs")
    state, sequences = list(node.inputs[:-scanned]), node.inputs[-scanned:]
    axes = node.attribute("scan_input_axes") or [0] * scanned
    directions = node.attribute("scan_input_directions") or [0] * scanned
    parts, pieces = Parts(node), list[list[str]]()
    for name, axis, direction in zip(sequences, axes, directions, strict=True):
        size = walk.shape(name)[axis]
        if isinstance(size, Batch):
            raise _refusal(node, "it works along the batch: samples would mix")
        if size > LONGEST:
            raise _refusal(node, f"it takes more than {LONGEST} steps")
        split = parts.several("Split", [name], size, axis=axis, num_outputs=size)
        steps = [parts.add("Squeeze", piece, parts.constant([axis])) for piece in split]
        pieces.append(steps[::-1] if direction else steps)
    walk.run(parts.nodes)
    rows = []
    for step, given in enumerate(zip(*pieces, strict=True)):
        outputs = _walked(walk, node, body, [*state, *given], step)
        state = outputs[: len(state)]
        rows.append(outputs[len(state) :])
    back = node.attribute("scan_output_directions") or [0] * len(rows[0])
    columns = [
        column[::-1] if last_first else column for column, last_first in zip(zip(*rows, strict=True), back, strict=True)
    ]
    ordered = list(zip(*columns, strict=True))
    return _results(node, state, ordered, node.attribute("scan_output_axes") or [0] * len(back))


def _walked(walk: Walk, node: Node, body: GraphProto, given: Sequence[str], step: int) -> list[str]:
    """Walk the body once, under names of this step, and return the names of its outputs."""
    copy = GraphProto()
    copy.CopyFrom(body)
    names = {name: f"{node.name}{OWN}{step}/{name}" for name in defined_names(body)}
    names |= {value.name: name for value, name in zip(body.input, given, strict=True)}
    rename_tensors(copy, names)
    stored = [helper.make_node("Constant", [], [tensor.name], tensor.name, value=tensor) for tensor in copy.initializer]
    nodes = nodes_of(helper.make_graph([*stored, *copy.node], "step", [], []))
    walk.run([replace(part, name=f"{node.name}{OWN}{step}/{part.name}") for part in nodes])
    return [value.name for value in copy.output]


def _results(node: Node, state: Sequence[str], rows: Sequence[Sequence[str]], axes: Sequence[int]) -> list[Node]:
    """Give the last state and, stacked along new axes, what every step put out."""
    parts = Parts(node)
    for name, output in zip(state, node.outputs, strict=False):
        parts.give(name, output)
    for index, output in enumerate(node.outputs[len(state) :]):
        if not rows:
            raise _refusal(node, "it takes no step, so its outputs are empty")
        wide = [parts.add("Unsqueeze", row[index], parts.constant([axes[index]])) for row in rows]
        parts.give(parts.add("Concat", *wide, axis=axes[index]), output)
    return parts.nodes


def _given(walk: Walk, node: Node, kind: str, value: np.ndarray) -> str:
    """Make a constant known to the walk, as an integer or a condition, and return its name."""
    name = f"{node.name}{OWN}{kind}"
    for trace in walk.traces:
        trace.know(name, value)
    walk.graph.constants[name] = value
    walk.graph.shapes[name], walk.graph.dtypes[name] = value.shape, value.dtype
    return name


def _known(walk: Walk, node: Node, name: str | None, default: int) -> int:
    """Return a number or condition that must not depend on the image nor on the batch."""
    if not name:
        return default
    values = [trace.values[name] for trace in walk.traces if name in trace.values]
    if len(values) < len(walk.traces):
        raise _refusal(node, "the image decides how often it runs")
    if int(values[0].item()) != int(values[1].item()):
        raise _refusal(node, "the batch size decides how often it runs")
    return int(values[0].item())


def _refusal(node: Node, reason: str) -> UnsupportedOperator:
    return UnsupportedOperator(node.operator, node.name, reason, ADVICE)
