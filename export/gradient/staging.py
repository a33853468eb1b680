"""Stages of a graph that computes only what one of its targets needs.

Every run asks for one target. The nodes that the logits need run always. All others are grouped by the targets that
need them, and each group is one `If` at the top level of the graph: nodes that exactly the same targets need run
together or not at all. A target of a chain so runs what lies between the logits and itself, and nothing of what lies
beyond; where branches are joined, a target in one of them runs nothing of the others.

An `If` gives the tensors that nodes of other groups read, and empty ones where it is left out. What a group reads is
always there when it runs: whoever needs a node needs all that the node reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, shape_inference

from export.graph.graph import IR_VERSION, Graph, Node, live_nodes, value_info
from export.graph.lower import opset_of
from export.graph.names import LOGITS, OWN

LAYER = "layer"
"""The input int64 [1] that chooses the target: an index into the layers, or `IMAGE`."""
IMAGE = -1


@dataclass
class _Group:
    """Nodes that the same targets need, in their order."""

    targets: frozenset[int]
    nodes: list[Node] = field(default_factory=list)


def staged(graph: Graph, nodes: Sequence[Node], targets: Mapping[int, str], choices: int) -> list[Node]:
    """Return `nodes` with what the targets need beyond the logits in the branches of `If` nodes.

    Args:
        graph: it holds the constants, and gets the tables by which the input `layer` decides.
        nodes: in an order in which they can run; those that nothing above needs read targets alone, and run last.
        targets: value of `layer` → its tensor [N, …], which is [N, 0] where `layer` has another value.
        choices: number of layers; `layer` is −1 or below it.
    """
    forward = live_nodes(nodes, [LOGITS])
    groups = _groups(nodes, {node.name for node in forward}, targets)
    placed = {node.name for node in forward}.union(node.name for group in groups for node in group.nodes)
    readers = _groups_that_read(groups)
    types = _element_types(graph, [node for group in groups for node in group.nodes])
    results = set(targets.values())
    empty, place = f"{LAYER}{OWN}empty", f"{LAYER}{OWN}place"
    staging = [*_no_columns(graph, empty), *_place(graph, place)]
    for number, group in enumerate(groups):
        produced = [name for node in group.nodes for name in node.outputs if name]
        given = [name for name in produced if name in results or readers[name] - {number}]
        asked = f"{LAYER}{OWN}asks_{number}"
        table = f"{LAYER}{OWN}targets_{number}"
        graph.constants[table] = np.array([index in group.targets for index in range(IMAGE, choices)])
        staging.append(Node("Gather", (table, place), (asked,), {"axis": 0}, asked))
        then = _then_branch(graph, group, given, types, f"stage_{number}")
        otherwise = _else_branch(given, results, empty, types, f"no_stage_{number}")
        branches = {"then_branch": then, "else_branch": otherwise}
        staging.append(Node("If", (asked,), tuple(given), branches, f"{LAYER}{OWN}stage_{number}"))
    return [*forward, *staging, *(node for node in nodes if node.name not in placed)]


def _groups(nodes: Sequence[Node], always: set[str], targets: Mapping[int, str]) -> list[_Group]:
    """The groups in an order in which they can run: what more targets need comes first."""
    needed_by: dict[str, frozenset[int]] = defaultdict(frozenset)
    for index, tensor in targets.items():
        needed_by[tensor] |= {index}
    groups: dict[frozenset[int], _Group] = {}
    for node in reversed(nodes):
        own = frozenset[int]().union(*(needed_by[name] for name in node.outputs if name))
        if node.name in always or not own:
            continue
        groups.setdefault(own, _Group(own)).nodes.append(node)
        for name in node.inputs:
            needed_by[name] |= own
    for group in groups.values():
        group.nodes.reverse()
    return sorted(groups.values(), key=lambda group: -len(group.targets))


def _groups_that_read(groups: Sequence[_Group]) -> dict[str, set[int]]:
    """Tensor → the groups that read it, by number."""
    readers: dict[str, set[int]] = defaultdict(set)
    for number, group in enumerate(groups):
        for node in group.nodes:
            for name in node.inputs:
                readers[name].add(number)
    return readers


def _no_columns(graph: Graph, name: str) -> list[Node]:
    """What gives [N, 0]: the logits without their columns."""
    zero, axis = f"{name}_begin", f"{name}_axis"
    graph.constants |= {zero: np.array([0], np.int64), axis: np.array([1], np.int64)}
    return [Node("Slice", (LOGITS, zero, zero, axis), (name,), name=name)]


def _place(graph: Graph, name: str) -> list[Node]:
    """What gives the place of `layer` in tables whose first entry is that of the image; one beyond them fails."""
    first = f"{name}_of_layer_0"
    graph.constants[first] = np.array([-IMAGE], np.int64)
    return [Node("Add", (LAYER, first), (name,), name=name)]


def _then_branch(
    graph: Graph, group: _Group, given: Sequence[str], types: Mapping[str, int], name: str
) -> onnx.GraphProto:
    """The group's nodes; what the `If` gives has another name inside, since no name may be there twice."""
    inside = {tensor: f"{tensor}{OWN}inside" for tensor in given}
    for tensor in inside.keys() & graph.shapes.keys():
        # An `If` that may give nothing has no known shape: the runtime would reuse its memory for others of that shape.
        graph.shapes[inside[tensor]], graph.dtypes[inside[tensor]] = graph.shapes.pop(tensor), graph.dtypes[tensor]
    nodes = [
        replace(
            node,
            inputs=tuple([inside.get(name, name) for name in node.inputs]),
            outputs=tuple([inside.get(name, name) for name in node.outputs]),
        )
        for node in group.nodes
    ]
    outputs = [helper.make_tensor_value_info(inside[tensor], types[tensor], None) for tensor in given]
    produced = [name for node in nodes for name in node.outputs if name in graph.shapes]
    known = [value_info(graph, name) for name in produced if graph.dtypes[name] == graph.dtype]
    return helper.make_graph([node.to_proto() for node in nodes], name, [], outputs, value_info=known)


def _else_branch(
    given: Sequence[str], results: set[str], empty: str, types: Mapping[str, int], name: str
) -> onnx.GraphProto:
    """Nothing in place of each tensor: [N, 0] for a result, any empty tensor for what no group will read."""
    nodes, outputs = [], []
    for tensor in given:
        output = f"{tensor}{OWN}none"
        if tensor in results:
            nodes.append(helper.make_node("Identity", [empty], [output], output))
        else:
            value = TensorProto(data_type=types[tensor], dims=[0])
            nodes.append(helper.make_node("Constant", [], [output], output, value=value))
        outputs.append(helper.make_tensor_value_info(output, types[tensor], None))
    return helper.make_graph(nodes, name, [], outputs)


def _element_types(graph: Graph, nodes: Sequence[Node]) -> dict[str, int]:
    """ONNX's number for the element type of every tensor that the nodes produce."""
    produced = {name for node in nodes for name in node.outputs}
    read = sorted({name for node in nodes for name in node.inputs if name and name not in produced})
    inputs = [helper.make_tensor_value_info(name, _element_type(graph, name), None) for name in read]
    proto = helper.make_graph([node.to_proto() for node in nodes], "types", inputs, [])
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset_of(nodes))], ir_version=IR_VERSION)
    inferred = shape_inference.infer_shapes(model).graph.value_info
    return {value.name: value.type.tensor_type.elem_type for value in inferred}


def _element_type(graph: Graph, name: str) -> int:
    kind = graph.constants[name].dtype if name in graph.constants else graph.dtypes[name]
    return int(helper.np_dtype_to_tensor_dtype(kind))
