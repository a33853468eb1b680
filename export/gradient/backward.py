"""The one backward loop: from the logits to the image, asking a rule at every node.

The loop knows graphs; the rules know mathematics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from export.gradient.norms.layers import weight_operand
from export.gradient.rules import registry
from export.gradient.shared import of_copies, per_sample
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.errors import refused_by_name
from export.graph.graph import Graph, N, Node, Shape, batch_axis, static


@dataclass(frozen=True)
class Read:
    """One node that reads a constant, and the gradient of that use.

    `gradient` is [N, *shape of the constant], or of the node's output `shape` where it is not reduced to that.
    """

    node: str
    constant: str
    gradient: str
    shape: Shape = ()


@dataclass
class Gradients:
    """Everything that one backward walk found. All of it is emitted; what no output needs dies as dead nodes.

    Attributes:
        tensors: forward tensor → its cotangent.
        parameters: source of a constant → its uses: the constant read, and its per-sample gradient [N, *shape].
        operators: that source → the first operator that reads it.
        uses: source of a layer's weight → the nodes that read it, in forward order, each with its output's cotangent.
        reads: all uses of constants whose per-sample gradients are in `parameters`.
        whole: uses of single numbers, and of constants computed from trained ones, whose gradients are not reduced.
    """

    tensors: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    operators: dict[str, str] = field(default_factory=dict)
    uses: dict[str, list[tuple[Node, str]]] = field(default_factory=lambda: defaultdict(list))
    reads: list[Read] = field(default_factory=list)
    whole: list[Read] = field(default_factory=list)

    def add(self, graph: Graph, constant: str, per_sample: str, node: Node) -> None:
        """Note the gradient of one use of a parameter, read as `constant`."""
        source = graph.source(constant)
        self.parameters[source].append((constant, per_sample))
        self.operators[source] = node.operator
        self.reads.append(Read(node.name, constant, per_sample))

    def add_use(self, graph: Graph, node: Node, dy: str | None) -> None:
        """Note a node that reads a layer's weight; leave out any other."""
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
            found.tensors.update({name: dy for name, dy in zip(node.outputs, dys, strict=True) if dy})
            if node.outputs[0] in g.graph.shared:
                _through_shared(g, node, dys[0], contributions, found)
                continue
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
    """Reverse a node of a tensor that all samples share: the cotangent [N, *s] is every sample's own.

    The rule is asked about the node as it would stand with a copy of its operands for every sample.
    """
    assert dy is not None
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
            found.add(g.graph, operand, whole, node)


def _wanted(graph: Graph) -> set[str]:
    """Return the tensors that need a gradient: those computed from the image, or by a trained constant.

    A tensor that depends on the batch size alone (a mask of ones, positions repeated for every sample) needs
    none, and so its operator needs no rule.
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
    gradient: str | PerSample,
    contributions: dict[str, list[str]],
    found: Gradients,
) -> None:
    """Add a node's gradient of one operand to what is known of that operand."""
    y_shape, shape = g.shape(node.outputs[0]), g.shape(operand)
    if operand in g.graph.constants:
        own = _of_constant(g, node, operand, gradient)
        if own is not None:
            found.add(g.graph, operand, own, node)
        elif isinstance(gradient, str) and _is_unlisted(g.graph, node, operand):
            found.whole.append(Read(node.name, operand, gradient, y_shape))
    elif operand in g.graph.shared:
        if isinstance(gradient, PerSample):
            gradient = gradient.tensor
        else:
            gradient = g.unbroadcast_per_sample(gradient, y_shape, static(shape))
        contributions[operand].append(gradient)
    else:
        assert isinstance(gradient, str), f"{node.operator}: a per-sample gradient of a computed operand"
        if registry.broadcasts(node.operator):
            gradient = g.unbroadcast(gradient, y_shape, shape)
        contributions[operand].append(g.declare(gradient, shape))


def _of_constant(g: Emitter, node: Node, operand: str, gradient: str | PerSample) -> str | None:
    """The per-sample gradient of a constant operand, None where it was not trained or its rule gives none."""
    if g.graph.source(operand) in g.graph.excluded:
        return None
    if isinstance(gradient, PerSample):
        return gradient.tensor
    # ONNX does not tell parameters from scalars that the export wrote out (an ε, a √d): one number is no parameter.
    trained = g.graph.is_parameter(operand) and g.graph.constants[operand].size > 1
    y_shape = g.shape(node.outputs[0])
    if not (registry.broadcasts(node.operator) and trained) or batch_axis(y_shape) is None:
        return None
    return g.unbroadcast_per_sample(gradient, y_shape, static(g.shape(operand)))


def _is_unlisted(graph: Graph, node: Node, operand: str) -> bool:
    """Tell whether a constant without a gradient of its own may differ between two versions of a network.

    Such are single numbers that the file stores, and what is computed from trained constants. The numbers of an
    exponent are part of what its rule emits, and so of the architecture.
    """
    if graph.source(operand) in graph.excluded or not registry.broadcasts(node.operator) or node.operator == "Pow":
        return False
    computed = operand in graph.derivation and operand not in graph.origin
    stored = graph.is_parameter(operand) or computed
    return stored and batch_axis(graph.shape(node.outputs[0])) is not None


def _total(g: Emitter, tensor: str, contributions: list[str]) -> str | None:
    """The cotangent of `tensor`: the sum of what all its consumers contribute."""
    if not contributions:
        return None
    total = contributions[0] if len(contributions) == 1 else g.op("Sum", *contributions)
    shape = g.shape(tensor)
    return g.declare(total, (N, *shape) if tensor in g.graph.shared else shape)
