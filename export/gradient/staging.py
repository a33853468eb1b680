"""Stages of a graph that computes only what one of its targets needs.

Every run asks for one target. The nodes that the logits need run always. All others are grouped by the targets that
need them, and each group is one `If`: nodes that exactly the same targets need run together or not at all. A target of
a chain so runs what lies between the logits and itself, and nothing of what lies beyond; where branches are joined, a
target in one of them runs nothing of the others.

An `If` gives the tensors that nodes of other groups read, and empty ones where it is left out. What a group reads is
always there when it runs: whoever needs a node needs all that the node reads.

The forward pass must give what any group might read, at a price even where none reads it: the runtime cannot fuse over
such a tensor, and has to bring it out of its blocked layout. On a MobileNet that takes half as long as all the rest. So
the target nearest to the logits, which is the one that is asked for most, has a branch with a forward pass of its own,
and the other branch has the stages of all others.
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


def staged(
    graph: Graph, nodes: Sequence[Node], targets: Mapping[int, str], outputs: Sequence[str], choices: int
) -> list[Node]:
    """Return nodes that compute what `nodes` do, and of the targets only the one that is asked for.

    Args:
        graph: it holds the constants, and gets the tables by which the input `layer` decides.
        nodes: in an order in which they can run; those that no target and no logit needs read targets alone.
        targets: value of `layer` → its tensor [N, …], which is [N, 0] where `layer` has another value.
        outputs: what is given, float tensors; each is the logits, or computed from targets alone.
        choices: number of layers; `layer` is −1 or below it.
    """
    place = f"{LAYER}{OWN}place"
    near = _nearest(nodes, targets)
    if near is None:
        return [*_place(graph, place), *_in_stages(graph, nodes, targets, choices, LOGITS)]
    branches = []
    for name, part in (("near", _alone(graph, nodes, targets, near)), ("deep", nodes)):
        inside = {output: f"{output}{OWN}{name}" for output in (LOGITS, *outputs)}
        _name_as(graph, inside)
        part = [node.renamed(inside) for node in part]
        if name == "deep":
            part = _in_stages(graph, part, targets, choices, inside[LOGITS])
        branches.append(
            _branch(graph, part, {inside[output]: _element_type(graph, output) for output in outputs}, name)
        )
    asked, choice = _asks(graph, frozenset({near}), choices, "near")
    both = {"then_branch": branches[0], "else_branch": branches[1]}
    return [*_place(graph, place), choice, Node("If", (asked,), tuple(outputs), both, f"{LAYER}{OWN}near_or_deep")]


def _nearest(nodes: Sequence[Node], targets: Mapping[int, str]) -> int | None:
    """The layer whose map lies nearest to the logits, by the nodes that it needs; the last of several, None of none."""
    layers = sorted((index for index in targets if index != IMAGE), reverse=True)
    return min(layers, key=lambda index: len(live_nodes(nodes, [targets[index]])), default=None)


def _alone(graph: Graph, nodes: Sequence[Node], targets: Mapping[int, str], chosen: int) -> list[Node]:
    """Return what the logits and one target need, and what reads targets, with nothing in place of the others."""
    needed = live_nodes(nodes, [LOGITS, targets[chosen]])
    others, empty = set(targets.values()) - {targets[chosen]}, f"{LAYER}{OWN}nothing"
    reading = [
        replace(node, inputs=tuple([name for name in node.inputs if name not in others]) or (empty,))
        for node in _reading_targets(nodes, targets)
    ]
    return [*needed, *_no_columns(graph, empty, LOGITS), *reading]


def _reading_targets(nodes: Sequence[Node], targets: Mapping[int, str]) -> list[Node]:
    """The nodes that neither the logits nor a target needs."""
    needed = {node.name for node in live_nodes(nodes, [LOGITS, *targets.values()])}
    return [node for node in nodes if node.name not in needed]


def _in_stages(
    graph: Graph, nodes: Sequence[Node], targets: Mapping[int, str], choices: int, logits: str
) -> list[Node]:
    """The forward pass, an `If` for every group, and the nodes that read targets."""
    forward = live_nodes(nodes, [logits])
    groups = _groups(nodes, {node.name for node in forward}, targets)
    placed = {node.name for node in forward}.union(node.name for group in groups for node in group.nodes)
    readers = _groups_that_read(groups)
    types = _element_types(graph, [node for group in groups for node in group.nodes])
    results, empty = set(targets.values()), f"{LAYER}{OWN}empty"
    staging = _no_columns(graph, empty, logits)
    for number, group in enumerate(groups):
        produced = [name for node in group.nodes for name in node.outputs if name]
        given = [name for name in produced if name in results or readers[name] - {number}]
        # What the `If` gives has another name inside, since no name may be there twice.
        inside = {name: f"{name}{OWN}inside" for name in given}
        _name_as(graph, inside)
        for name in given:
            # An `If` that may give nothing has no known shape: the runtime gives its memory to others of that shape.
            graph.shapes.pop(name, None)
        within = {inside[name]: types[name] for name in given}
        then = _branch(graph, [node.renamed(inside) for node in group.nodes], within, f"stage_{number}")
        otherwise = _else_branch(given, results, empty, types, f"no_stage_{number}")
        asked, choice = _asks(graph, group.targets, choices, str(number))
        branches = {"then_branch": then, "else_branch": otherwise}
        staging += [choice, Node("If", (asked,), tuple(given), branches, f"{LAYER}{OWN}stage_{number}")]
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


def _no_columns(graph: Graph, name: str, logits: str) -> list[Node]:
    """What gives [N, 0]: the logits without their columns."""
    zero, axis = f"{LAYER}{OWN}first_column", f"{LAYER}{OWN}columns"
    graph.constants |= {zero: np.array([0], np.int64), axis: np.array([1], np.int64)}
    return [Node("Slice", (logits, zero, zero, axis), (name,), name=name)]


def _place(graph: Graph, name: str) -> list[Node]:
    """Nodes that compute the place of `layer` in tables that begin with the image's entry; none beyond the layers."""
    first = f"{name}_of_layer_0"
    graph.constants[first] = np.array([-IMAGE], np.int64)
    return [Node("Add", (LAYER, first), (name,), name=name)]


def _asks(graph: Graph, targets: frozenset[int], choices: int, name: str) -> tuple[str, Node]:
    """Whether `layer` is one of the targets, and the node that finds it out."""
    asked, table = f"{LAYER}{OWN}asks_{name}", f"{LAYER}{OWN}targets_{name}"
    graph.constants[table] = np.array([index in targets for index in range(IMAGE, choices)])
    return asked, Node("Gather", (table, f"{LAYER}{OWN}place"), (asked,), {"axis": 0}, asked)


def _name_as(graph: Graph, names: Mapping[str, str]) -> None:
    """Let other names have the types and shapes that are known of tensors."""
    for name, other in names.items():
        if name in graph.shapes:
            graph.shapes[other], graph.dtypes[other] = graph.shapes[name], graph.dtypes[name]


def _branch(graph: Graph, nodes: Sequence[Node], given: Mapping[str, int], name: str) -> onnx.GraphProto:
    """A branch of an `If`, with what is known of its tensors; `given` are those that it gives, with their types."""
    outputs = [helper.make_tensor_value_info(tensor, kind, None) for tensor, kind in given.items()]
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
