"""The one backward loop. It knows graphs; the rules know mathematics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from export.gradient.norms.layers import weight_operand
from export.gradient.rules import registry
from export.gradient.shared import of_copies, per_sample
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.errors import refused_by_name
from export.graph.graph import Graph, N, Node, batch_axis, static


@dataclass
class Gradients:
    """What one backward walk found.

    `tensors`: forward tensor → its cotangent. `parameters`: constant operand's source → its
    per-sample gradients [N, *shape], one per use. `operators`: that source → the first operator
    that reads it. `uses`: a layer's weight → the nodes that read it, each with its output's cotangent,
    in forward order. All emitted; what nobody asks for dies as dead nodes.
    """

    tensors: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    operators: dict[str, str] = field(default_factory=dict)
    uses: dict[str, list[tuple[Node, str]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, source: str, per_sample: str, operator: str) -> None:
        """One use of a parameter."""
        self.parameters[source].append(per_sample)
        self.operators[source] = operator

    def add_use(self, graph: Graph, node: Node, dy: str | None) -> None:
        """A node, if it is a use of a layer's weight."""
        weight = weight_operand(graph, node)
        if weight is not None and dy is not None:
            self.uses[graph.source(weight)].insert(0, (node, dy))


def backward(g: Emitter, output: str, cotangent: str) -> Gradients:
    """Emit the reverse of every node that `output` depends on, starting from its cotangent."""
    found = Gradients()
    wanted = _wanted(g.graph)
    contributions: dict[str, list[str]] = defaultdict(list, {output: [cotangent]})
    for node in reversed(g.graph.nodes):
        if wanted.isdisjoint(node.outputs):
            continue
        with g.scope(node.name):
            dys = [_total(g, name, contributions.pop(name, [])) for name in node.outputs]
            if all(dy is None for dy in dys):
                continue
            if node.outputs[0] in g.graph.shared:
                _through_shared(g, node, dys[0], contributions, found)
                continue
            found.tensors.update({name: dy for name, dy in zip(node.outputs, dys, strict=True) if dy})
            found.add_use(g.graph, node, dys[0])
            for operand, gradient in zip(node.inputs, _gradients(g, node, *dys), strict=True):
                if operand and gradient is not None:
                    _contribute(g, node, operand, gradient, contributions, found)
    with g.scope(g.graph.input):
        total = _total(g, g.graph.input, contributions.pop(g.graph.input, []))
    if total is not None:
        found.tensors[g.graph.input] = total
    return found


def _gradients(g: Emitter, node: Node, *dys: str | None) -> Sequence[Cotangent]:
    with refused_by_name(node.operator, node.name):
        gradients = registry.gradient_rule(node)(g, node, *dys)
    assert len(gradients) == len(node.inputs), f"{node.operator}: one gradient per input"
    return gradients


def _through_shared(
    g: Emitter, node: Node, dy: str | None, contributions: dict[str, list[str]], found: Gradients
) -> None:
    """A node of a tensor that all samples share: its cotangent [N, *s] is every sample's own."""
    assert dy is not None
    found.tensors[node.outputs[0]] = dy
    own = per_sample(g, node)
    y_shape = g.shape(own.outputs[0])
    dy = of_copies(g, dy, node.outputs[0], own.outputs[0])
    found.add_use(g.graph, own, dy)
    gradients = _gradients(g, own, dy)
    for operand, copy, gradient in zip(node.inputs, own.inputs, gradients, strict=False):  # axes may come behind
        if not operand or gradient is None:
            continue
        if copy == operand:
            _contribute(g, own, operand, gradient, contributions, found)
            continue
        assert isinstance(gradient, str), f"{node.operator}: a gradient of a parameter for a copied operand"
        if registry.broadcasts(node.operator):
            gradient = g.unbroadcast(gradient, y_shape, g.shape(copy))
        whole = g.reshape(g.declare(gradient, g.shape(copy)), (N, *static(g.shape(operand))))
        if operand not in g.graph.constants:
            contributions[operand].append(whole)
        elif g.graph.is_parameter(operand):
            found.add(g.graph.source(operand), whole, node.operator)


def _wanted(graph: Graph) -> set[str]:
    """The tensors that a gradient is wanted of: those computed from the image or by a trained constant.

    Of what the batch size alone decides (a mask of ones, positions repeated for every sample) none
    is, so that no rule is either.
    """
    wanted = {graph.input}
    for node in graph.nodes:
        if not registry.carries_gradient(node.operator):
            continue
        trained = any(graph.is_parameter(name) for name in node.inputs if name in graph.constants)
        if trained or not wanted.isdisjoint(node.inputs) or weight_operand(graph, node):
            wanted.update(name for name in node.outputs if name)
    return wanted


def _contribute(
    g: Emitter,
    node: Node,
    operand: str,
    gradient: Cotangent,
    contributions: dict[str, list[str]],
    found: Gradients,
) -> None:
    constant = g.value(operand)
    assert gradient is not None
    y_shape = g.shape(node.outputs[0])
    if constant is None:
        if operand in g.graph.shared:
            if isinstance(gradient, PerSample):
                contributions[operand].append(gradient.tensor)
            else:
                contributions[operand].append(g.unbroadcast_per_sample(gradient, y_shape, static(g.shape(operand))))
            return
        assert isinstance(gradient, str), f"{node.operator}: a per-sample gradient of a computed operand"
        if registry.broadcasts(node.operator):
            gradient = g.unbroadcast(gradient, y_shape, g.shape(operand))
        contributions[operand].append(g.declare(gradient, g.shape(operand)))
        return
    source = g.graph.source(operand)
    if source in g.graph.excluded:
        return
    if isinstance(gradient, PerSample):
        own = gradient.tensor
    elif registry.broadcasts(node.operator) and g.graph.is_parameter(operand) and constant.size > 1:
        axis = batch_axis(y_shape)
        if axis is None:
            return
        own = g.unbroadcast_per_sample(gradient, y_shape, static(constant.shape))
    else:
        return
    found.add(source, own, node.operator)


def _total(g: Emitter, tensor: str, contributions: list[str]) -> str | None:
    """The cotangent of `tensor`: the sum of what all its consumers contribute."""
    if not contributions:
        return None
    total = contributions[0] if len(contributions) == 1 else g.op("Sum", *contributions)
    shape = g.shape(tensor)
    return g.declare(total, (N, *shape) if tensor in g.graph.shared else shape)
