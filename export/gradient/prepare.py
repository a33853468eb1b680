"""Preparation of a classifier: its forward graph in plain form, its layers, and its backward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
import onnx
from onnx import helper

from export.gradient import simplify
from export.gradient.backward import Gradients, backward
from export.gradient.norms.joining import require_whole_gradients
from export.gradient.norms.layers import WeightedLayer, describe, weight_operand, weighted_layers
from export.gradient.rules.loss import LABEL, SCALE, label_shape, loss_cotangent
from export.gradient.shared import folded_parameters, keep_trained_chains
from export.graph.emitter import Emitter
from export.graph.errors import UnsupportedGraph, UnsupportedOperator
from export.graph.graph import Graph, N, live_nodes, open_inputs, static, to_model
from export.graph.lower import lower, opset_of
from export.graph.names import INPUT, LOGITS, original, shown
from export.standard.cleaning import cleaned
from export.standard.ends import settled
from export.standard.opset import at_our_opset
from service.contract.bundle_schema import LabelKindName, Layer, OtherParameter

NAMED_IN_A_NOTE = 6


@dataclass(frozen=True)
class Prepared:
    """A classifier ready to be differentiated.

    - `graph`: from `input` to `logits`, folded and checked.
    - `weighted`, `layers`: its layers with weights, and the bundle's records of them, in the order of the outputs'
      columns.
    - `others`, `other_parameters`: the other trained constants, and the bundle's records of them, in such order.
    - `features`: the width of what the last linear layer reads, None where its output is not the logits.
    - `notes`: what a reader of the norms must know.
    - `emitted`, `gradients`: the whole backward pass behind the forward graph, and its tensors by name. Every gradient
      graph is the part of it that its outputs need.
    - `label_kind`: decides the loss.
    """

    graph: Graph
    weighted: tuple[WeightedLayer, ...]
    layers: tuple[Layer, ...]
    others: tuple[str, ...]
    other_parameters: tuple[OtherParameter, ...]
    features: int | None
    notes: tuple[str, ...]
    emitted: Emitter
    gradients: Gradients
    label_kind: LabelKindName

    @property
    def classes(self) -> int:
        """Number of labels."""
        return static(self.graph.shape(LOGITS)[1:])[0]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of the input without the batch."""
        return static(self.graph.shape(INPUT)[1:])

    @property
    def forward(self) -> onnx.ModelProto:
        """The forward graph alone: `input` → `logits`."""
        nodes = lower(self.graph, live_nodes(self.graph.nodes, [LOGITS]))
        return to_model(self.graph, nodes, [INPUT], [LOGITS], name="forward", opset=opset_of(nodes))


def prepare(
    model: onnx.ModelProto,
    *,
    constants: Collection[str] = (),
    logits: bool = False,
    label_kind: LabelKindName = "exclusive",
) -> Prepared:
    """Check, fold and simplify a classifier of one image input.

    The first axis of the input is the batch, free or fixed, and is made free; all others must be
    fixed. `constants` names initializers that are no parameters (an option-A shortcut's kernel).
    A final Softmax is removed, unless `logits` says that the output is logits whatever it ends in;
    BatchNormalization is folded into the convolution before it. `label_kind` decides the loss.

    Raises InvalidModel, UnsupportedGraph or UnsupportedOperator.
    """
    model, training_notes = cleaned(model)
    model = at_our_opset(model)
    graph, notes = settled(model, _image_shape(model), logits=logits)
    notes = (*training_notes, *notes)
    graph.excluded |= {name for name in graph.constants if original(name) in set(constants)}
    graph.parameters -= graph.excluded
    simplify.drop_identities(graph)
    notes += simplify.fold_batch_norms(graph)
    if all(INPUT not in node.inputs for node in graph.nodes):
        raise UnsupportedGraph("the output does not depend on the image")
    emitted, found = walked_back(graph, label_kind)
    require_whole_gradients(graph, found.uses, found.operators)
    for known in (graph, emitted.graph):
        read = {name for node in (*known.nodes, *emitted.nodes) for name in node.inputs}
        known.constants = {name: value for name, value in known.constants.items() if name in read}
    if len(model.graph.output) > 1:
        first = original(model.graph.output[0].name)
        notes += (f"the model has {len(model.graph.output)} outputs; the first, {first!r}, is differentiated",)
    if folded := folded_parameters(graph):
        notes += (_folded_note(folded),)
    weighted = weighted_layers(graph)
    _require_reached(found, weighted)
    others = _other_parameters(graph, weighted, found)
    return Prepared(
        graph=graph,
        weighted=tuple(weighted),
        layers=_with_unique_names(weighted, [describe(graph, layer) for layer in weighted]),
        others=tuple(others),
        other_parameters=tuple(others.values()),
        features=_features(graph, weighted),
        notes=notes,
        emitted=emitted,
        gradients=found,
        label_kind=label_kind,
    )


def _with_unique_names(weighted: list[WeightedLayer], records: list[Layer]) -> tuple[Layer, ...]:
    """Give layers whose short names coincide (`head` and `head.weight`) the whole name of their weight.

    Where the engine computes several weights from one tensor, they are numbered.
    """
    short = Counter(record.name for record in records)
    named: dict[str, Layer] = {}
    for layer, record in zip(weighted, records, strict=True):
        whole = record.name if short[record.name] == 1 else shown(layer.source)
        candidates = chain([whole], (f"{whole}.{number}" for number in count(2)))
        name = next(name for name in candidates if name not in named and (name == whole or name not in short))
        named[name] = record.model_copy(update={"name": name})
    return tuple(named.values())


def features_tensor(prepared: Prepared) -> str:
    """Return the tensor that the last linear layer reads."""
    return prepared.weighted[-1].nodes[0].inputs[0]


def _image_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    inputs = open_inputs(model.graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedGraph(f"the model must take exactly one image; its inputs are: {names}")
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type))
    if kind not in (np.float32, np.float64):
        raise UnsupportedGraph(f"the image is {kind}; only float32 models can be differentiated")
    dimensions = inputs[0].type.tensor_type.shape.dim[1:]
    if len(dimensions) < 1 or any(dimension.dim_value <= 0 for dimension in dimensions):
        raise UnsupportedGraph(f"the image size of input {inputs[0].name!r} is not fixed; state it when importing")
    return tuple(dimension.dim_value for dimension in dimensions)


def _folded_note(names: list[str]) -> str:
    named = ", ".join(names[:NAMED_IN_A_NOTE])
    more = f" and {len(names) - NAMED_IN_A_NOTE} more" if len(names) > NAMED_IN_A_NOTE else ""
    return (
        f"constants are computed beforehand from {named}{more}: the gradient that reaches these through them is left "
        "out of norms"
    )


def walked_back(graph: Graph, label_kind: LabelKindName) -> tuple[Emitter, Gradients]:
    """Put trained chains back into `graph` and emit its backward pass.

    Where a rule refuses a node of such a chain, all chains stay folded. Raises UnsupportedOperator for any other node
    without a rule.
    """
    nodes, constants = graph.nodes, dict(graph.constants)
    keep_trained_chains(graph)
    if graph.shared:
        try:
            return _reverse(graph, label_kind)
        except UnsupportedOperator as error:
            if all(node.outputs[0] not in graph.shared for node in graph.nodes if node.name == error.node):
                raise
            graph.nodes, graph.constants = nodes, constants
            graph.shared.clear()
    return _reverse(graph, label_kind)


def _reverse(graph: Graph, label_kind: LabelKindName) -> tuple[Emitter, Gradients]:
    g = Emitter(graph).fork()
    classes = static(graph.shape(LOGITS)[1:])[0]
    g.graph.shapes |= {LABEL: label_shape(label_kind, classes), SCALE: (N,)}
    g.graph.dtypes |= {LABEL: np.dtype(np.int64), SCALE: graph.dtype}
    return g, backward(g, LOGITS, loss_cotangent(g, label_kind, classes))


def _require_reached(found: Gradients, weighted: list[WeightedLayer]) -> None:
    """Raise UnsupportedGraph where rounding or comparing keeps the gradient from a weight or from the image."""
    wanted = {INPUT: "image"}
    wanted |= {node.outputs[0]: f"weight {shown(layer.source)!r}" for layer in weighted for node in layer.nodes}
    for tensor, name in reversed(wanted.items()):
        if tensor not in found.tensors:
            raise UnsupportedGraph(
                f"no gradient reaches the {name}: only operators without one, which round or compare, "
                "lie between it and the output; name an earlier tensor as the output"
            )


def _other_parameters(graph: Graph, weighted: list[WeightedLayer], found: Gradients) -> dict[str, OtherParameter]:
    """Return the trained tensors that are neither a layer's weight nor its bias, in forward order of first use."""
    own = {layer.source for layer in weighted} | {layer.bias for layer in weighted if layer.bias}
    others: dict[str, OtherParameter] = {}
    for node in graph.nodes:
        weight = weight_operand(graph, node)
        norm = graph.folded.get(weight) if weight else None
        if norm is not None:
            for name in (norm.gamma, norm.beta):
                if name in graph.parameters and name not in others:
                    others[name] = OtherParameter(
                        name=shown(name), operator="BatchNormalization", parameters=norm.ratio.size
                    )
        for operand in node.inputs:
            source = graph.source(operand)
            if source in found.parameters and source not in own and not _is_shift(graph, source):
                size = graph.constants[operand].size
                others.setdefault(
                    source, OtherParameter(name=shown(source), operator=found.operators[source], parameters=size)
                )
    return others


def _is_shift(graph: Graph, source: str) -> bool:
    return any(norm.shift == source for norm in graph.folded.values())


def _features(graph: Graph, weighted: list[WeightedLayer]) -> int | None:
    """Return the width of the last linear layer's input, None where its output is not the logits."""
    if not weighted or weighted[-1].nodes[0].operator not in ("Gemm", "MatMul") or len(weighted[-1].nodes) > 1:
        return None
    last = weighted[-1].nodes[0]
    tensor, producers = graph.output, graph.producers()
    while tensor in producers and producers[tensor] is not last:
        node = producers[tensor]
        if node.operator not in ("Add", "Identity", "Reshape", "Flatten", "Squeeze"):
            return None
        tensor = next((name for name in node.inputs if name not in graph.constants), "")
    shape = graph.shape(last.inputs[0]) if last.inputs[0] not in graph.constants else ()
    return static(shape[1:])[0] if tensor in producers and len(shape) == 2 else None
