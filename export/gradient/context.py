"""A gradient graph under construction: what its outputs are emitted into, and what they share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import onnx

from export.gradient.backward import Gradients
from export.gradient.layout.passes import laid_out
from export.gradient.norms.layers import WeightedLayer, channel_axis_of
from export.gradient.norms.planner import Planner
from export.gradient.prepare import Prepared
from export.gradient.rules.loss import LABEL, SCALE, from_a_logit
from export.gradient.shared import copied
from export.gradient.slopes import Slopes
from export.gradient.staging import LAYER, staged
from export.graph.emitter import Emitter
from export.graph.errors import UnsupportedOperator
from export.graph.graph import Graph, N, Node, Shape, Stored, live_nodes, to_model
from export.graph.lower import lower, opset_of
from export.graph.names import INPUT, LOGITS, OWN
from export.graph.parameters import DIFFERENCE, PART
from service.contract.outputs import ROWS


class Build:
    """The forward graph with its backward pass, and an emitter behind them for what the outputs need."""

    def __init__(self, prepared: Prepared, wanted: Collection[str]) -> None:
        self.prepared = prepared
        self.wanted = wanted
        self.targets: dict[int, str] = {}
        """Value of the input `layer` → what is computed where that is given; empty for a graph without that input."""
        self.g, self._gradients = _backward_pass(prepared, wanted)
        self.graph: Graph = self.g.graph
        # `rewrite` has put stored weights in place of those that the backward pass was emitted with.
        self.graph.constants |= prepared.graph.constants
        self.inputs = [INPUT]

    @property
    def layers(self) -> tuple[WeightedLayer, ...]:
        """The layers with weights, in forward order."""
        return self.prepared.weighted

    @cached_property
    def gradients(self) -> Gradients:
        """The backward pass, which makes label and scale inputs of the graph."""
        self.inputs = [INPUT, LABEL, SCALE]
        return self._gradients

    @cached_property
    def planner(self) -> Planner:
        """The decisions how the norms of every layer's weight gradient are computed."""
        batch = any(not ROWS[name].has_samples for name in self.wanted)
        return Planner(self.g, self.gradients.uses, batch=batch)

    @cached_property
    def slopes(self) -> Slopes:
        """The slopes of the loss along a change of all trained constants."""
        return Slopes(self.g, self.gradients, self.layers, self.prepared.others)

    def by_sample(self, tensor: str) -> tuple[str, Shape]:
        """A forward tensor and its shape, with a copy for every sample where all share it."""
        name = copied(self.g, tensor) if tensor in self.graph.shared else tensor
        return name, self.graph.shape(name)

    def channel_axis(self, layer: WeightedLayer) -> int:
        """The axis of the channels in a layer's output, behind its rectifier, as `by_sample` gives that."""
        last = layer.rectifier.outputs[0] if layer.rectifier else layer.output
        return channel_axis_of(self.graph, layer) + (last in self.graph.shared)

    def parameter(self, source: str) -> tuple[str, int]:
        """The per-sample gradient of a parameter, summed over its uses, [N, size], and its size."""
        uses = self.gradients.parameters[source]
        size = next(value.size for name, value in self.graph.constants.items() if self.graph.source(name) == source)
        if len(uses) == 1:  # its numbers may be in any order: all that is asked for is their norm
            return self.g.reshape(uses[0][1], (N, size)), size
        total, *others = [self._in_order_of_source(*use) for use in uses]
        for other in others:
            total = self.g.add(total, other)
        return total, size

    def _in_order_of_source(self, constant: str, gradient: str) -> str:
        """The per-sample gradient of a constant, [N, size], its numbers in the order of the parameter it comes from.

        Raises UnsupportedOperator where a Transpose stands before another rearrangement.
        """
        size = self.graph.constants[constant].size
        while constant in self.graph.origin:
            node = self.graph.derivation[constant]
            if node.operator == "Transpose":
                if constant not in self.graph.constants:
                    reason = "a parameter that is used several times goes through it and is then rearranged again"
                    raise UnsupportedOperator(node.operator, node.name, reason, "export each use as a parameter")
                shape = self.graph.constants[constant].shape
                order = node.attribute("perm") or range(len(shape))[::-1]
                back = [0, *(int(axis) + 1 for axis in np.argsort(order))]
                gradient = self.g.op("Transpose", self.g.reshape(gradient, (N, *shape)), perm=back)
            constant = node.inputs[0]
        return self.g.reshape(gradient, (N, size))

    def target(self, layer: int, tensor: str) -> str:
        """Have `tensor` computed only where the input `layer` asks for it; return what holds it, or nothing, [N, 0]."""
        if not self.targets:
            self.inputs = [INPUT, LABEL, SCALE, LAYER]
            self.graph.shapes[LAYER], self.graph.dtypes[LAYER] = (1,), np.dtype(np.int64)
        self.targets[layer] = name = f"{LAYER}{OWN}target_{len(self.targets)}"
        self.g.nodes.append(Node("Identity", (tensor,), (name,), name=name))
        return name

    def output(self, name: str, tensor: str, shape: Shape) -> list[str]:
        """Give `tensor` the name of an output."""
        self.graph.shapes[name], self.graph.dtypes[name] = shape, self.graph.dtype
        self.g.nodes.append(Node("Identity", (tensor,), (name,), name=f"{name}/output"))
        return [name]

    def columns(self, name: str, columns: list[str], width: int | None = None) -> list[str]:
        """Emit one output [N, width] that has `columns` side by side."""
        width = len(columns) if width is None else width
        if not columns:
            empty = self.g.op("Slice", LOGITS, self.g.ints([0]), self.g.ints([0]), self.g.ints([1]))
            return self.output(name, empty, (N, 0))
        return self.output(name, self.g.op("Concat", *columns, axis=1), (N, width))

    def model(self, outputs: list[str], name: str, stored: Stored) -> onnx.ModelProto:
        """Return the finished graph, with only the nodes that `outputs` need, its constants made by `stored`."""
        seconds = self.g.extra_outputs
        if self.targets:  # what a stage alone asks of a forward node, it asks of a second such node
            forward = [*self.graph.nodes, *(_again(node, seconds) for node in self.graph.nodes if node.name in seconds)]
        else:
            forward = [replace(node, outputs=seconds.get(node.name, node.outputs)) for node in self.graph.nodes]
        emitted = laid_out(self.g, live_nodes(self.g.nodes, outputs))
        live = live_nodes([*forward, *emitted], outputs)
        unread = {name for _, name in seconds.values()}.difference(name for node in live for name in node.inputs)
        live = [replace(n, outputs=n.outputs[:1]) if unread.intersection(n.outputs) else n for n in live]
        nodes = lower(self.graph, _without_copies(live, outputs))
        opset = opset_of(nodes)
        if self.targets:
            nodes = staged(self.graph, nodes, self.targets, outputs, len(self.layers))
        made = to_model(self.graph, nodes, self.inputs, outputs, name=name, opset=opset, stored=stored)
        if "slopes" in vars(self):
            self._mark_parameters(made)
        return made

    def _mark_parameters(self, model: onnx.ModelProto) -> None:
        """Note on every trained tensor that its change counts, and for which part of the network."""
        names = {
            "layer": [layer.name for layer in self.prepared.layers],
            "other": [other.name for other in self.prepared.other_parameters],
            "rest": [""],
        }
        for tensor in model.graph.initializer:
            of = tensor.name.removesuffix(DIFFERENCE)
            if of in self.slopes.columns:
                kind, index = self.slopes.columns[of]
                tensor.metadata_props.add(key=PART, value=names[kind][index])


def _backward_pass(prepared: Prepared, wanted: Collection[str]) -> tuple[Emitter, Gradients]:
    """The backward pass that the outputs need, behind the forward graph: the loss's, or a logit's.

    Raises ValueError where they need both.
    """
    of_a_logit = sorted(name for name in wanted if ROWS[name].graphs == ("explanation",))
    if not of_a_logit:
        return prepared.emitted.fork(), prepared.gradients
    if others := sorted(set(wanted).difference(of_a_logit, {LOGITS})):
        raise ValueError(f"{', '.join(of_a_logit)} explain a logit, and no graph gives {', '.join(others)} beside that")
    of_loss = prepared.gradients.tensors[LOGITS]
    g, of_logit = from_a_logit(prepared.emitted, of_loss, prepared.classes)
    tensors = prepared.gradients.tensors
    return g, Gradients({name: of_logit if dy == of_loss else dy for name, dy in tensors.items()})


def _again(node: Node, seconds: Mapping[str, tuple[str, ...]]) -> Node:
    """A forward node once more, with its second output; the first is another tensor."""
    name = f"{node.name}{OWN}again"
    return replace(node, outputs=(name, *seconds[node.name][1:]), name=name)


def _without_copies(nodes: list[Node], outputs: Collection[str]) -> list[Node]:
    """Let a node write an output itself, where an Identity would copy to it a tensor that a Pad reads too.

    ONNX Runtime removes such an Identity, and then does not find the tensor that the Pad reads.
    """
    padded = {node.inputs[0] for node in nodes if node.operator == "Pad"}
    written = {name for node in nodes for name in node.outputs} & padded
    names: dict[str, str] = {}
    kept = []
    for node in nodes:
        source = node.inputs[0] if node.operator == "Identity" and node.outputs[0] in outputs else ""
        if source in written and source not in names and source not in outputs:
            names[source] = node.outputs[0]
        else:
            kept.append(node)
    if not names:
        return kept
    return [node.renamed(names) for node in kept]
