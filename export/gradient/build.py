"""Gradient graphs: one for every set of outputs that a bundle offers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import onnx

from export.gradient import factors as factored
from export.gradient import registry
from export.gradient.backward import Gradients, backward
from export.gradient.columns import Difference, Rows, differences, joined, square_sums, weighted_sums
from export.gradient.emitter import Emitter
from export.gradient.errors import UnsupportedGraph
from export.gradient.factors import ENTRY_COST, Factors
from export.gradient.graph import Graph, N, Node, Shape, live_nodes, per_sample_size, static, to_model
from export.gradient.layers import WeightedLayer, channel_axis_of, is_rectifier
from export.gradient.lower import lower, opset_of
from export.gradient.prepare import Prepared, features_tensor, prepare
from export.gradient.rules.loss import INPUT, LABEL, LOGITS, SCALE, cross_entropy_cotangent
from service.bundle_schema import GraphName

MOST_CANCELLATION = 100.0
"""Largest β/γ at which the gradient of a normalization's scale is taken from its output: it costs two digits."""
PASSES_OF_UNFUSED = 3
"""Over an output that is kept for the sake of its gradient: nothing behind it is fused into the product then."""
NORMS = ("weight_square", "scaled_square", "bias_square", "other_square")
OUTPUTS: dict[GraphName, tuple[str, ...]] = {
    "forward": (LOGITS, "features"),
    "activation_norms": (LOGITS, "activation_square"),
    "weight_norms": (LOGITS, "activation_square", *NORMS, "features"),
    "batch_norms": (LOGITS, "activation_square", *NORMS, "batch_square", "features"),
    "input_gradient": (LOGITS, "input_gradient"),
    "activations": (LOGITS, "activation_mean", "activation_variance", "activation_zero_share", "channel_peak"),
    "feature_maps": (LOGITS, "map"),
}
FORWARD_ONLY: tuple[GraphName, ...] = ("forward", "activations", "feature_maps")


def differentiate(
    model: onnx.ModelProto | Prepared, outputs: Collection[str] | GraphName = "weight_norms"
) -> onnx.ModelProto:
    """The ONNX graph that computes `outputs`, as `service.bundle_schema` defines them.

    `outputs` is the name of a bundle's graph or any collection of tensor names ("map" stands for
    all feature maps). Inputs are `input` and, unless only forward quantities are asked for,
    `label` and `cotangent_scale`. Standard operators only, static shapes but the batch.

    Raises InvalidModel, UnsupportedGraph, UnsupportedOperator; ValueError for an unknown output.
    """
    prepared = model if isinstance(model, Prepared) else prepare(model)
    wanted = OUTPUTS[outputs] if isinstance(outputs, str) else tuple(outputs)  # type: ignore[index]
    return _Build(prepared).model(wanted, outputs if isinstance(outputs, str) else "gradients")


class _Build:
    """One gradient graph under construction."""

    def __init__(self, prepared: Prepared) -> None:
        graph = prepared.graph
        self.prepared = prepared
        self.graph: Graph = replace(
            graph, constants=dict(graph.constants), shapes=dict(graph.shapes), dtypes=dict(graph.dtypes)
        )
        self.g = Emitter(self.graph)
        self._gradients: Gradients | None = None
        self._weights: dict[str, tuple[Factors, Callable[[], str]]] = {}
        self.inputs = [INPUT]
        self.wanted: Collection[str] = ()

    def model(self, wanted: Collection[str], name: str) -> onnx.ModelProto:
        self.wanted = wanted
        for output in wanted:
            if output not in self._makers() and output != LOGITS:
                raise ValueError(f"unknown output {output!r}; known: {', '.join((LOGITS, *self._makers()))}")
        outputs: list[str] = []
        for output in wanted:
            if output == LOGITS:
                outputs.append(LOGITS)
            else:
                outputs += self._makers()[output]()
        forward = [
            replace(node, outputs=self.g.extra_outputs.get(node.name, node.outputs)) for node in self.graph.nodes
        ]
        nodes = lower(self.graph, live_nodes([*forward, *self.g.nodes], outputs))
        return to_model(self.graph, nodes, self.inputs, outputs, name=name, opset=opset_of(nodes))

    def _makers(self) -> dict[str, Callable[[], list[str]]]:
        return {
            "features": self._features,
            "activation_square": self._activation_square,
            "weight_square": self._weight_square,
            "scaled_square": self._scaled_square,
            "bias_square": self._bias_square,
            "other_square": self._other_square,
            "batch_square": self._batch_square,
            "input_gradient": self._input_gradient,
            "activation_mean": self._activation_mean,
            "activation_variance": self._activation_variance,
            "activation_zero_share": self._activation_zero_share,
            "channel_peak": self._channel_peak,
            "map": self._maps,
        }

    # ── what is emitted once ──────────────────────────────────────────────────────────────────

    @property
    def gradients(self) -> Gradients:
        """The backward walk, emitted when first asked for."""
        if self._gradients is None:
            self.inputs = [INPUT, LABEL, SCALE]
            self.graph.shapes.update({LABEL: (N,), SCALE: (N,)})
            self.graph.dtypes.update({LABEL: np.dtype(np.int64), SCALE: self.graph.dtype})
            cotangent = cross_entropy_cotangent(self.g, self.prepared.classes)
            self._gradients = backward(self.g, LOGITS, cotangent)
        return self._gradients

    def _weight_gradient(self, layer: WeightedLayer) -> tuple[Factors, Callable[[], str]]:
        """The factors of the layer's summed gradient, and how to emit their product (once)."""
        if layer.source not in self._weights:
            with self.g.scope(layer.nodes[0].name):
                uses = [
                    registry.norm_twin(node)(self.g, node, self.gradients.tensors[node.outputs[0]])
                    for node in layer.nodes
                ]
                if not factored.can_join(uses):
                    raise UnsupportedGraph(
                        f"the weight {layer.source!r} is used in different arrangements; give every use its own copy"
                    )
                factors = factored.joined(self.g, uses)
                factors = replace(factors, formed=self._must_form(layer, factors))
            self._weights[layer.source] = factors, lambda: factored.product(self.g, factors)
        return self._weights[layer.source]

    def _must_form(self, layer: WeightedLayer, factors: Factors) -> bool:
        """Whether dW itself pays: for the scale of a folded normalization, or for the batch's gradient."""
        if layer.operand in self.graph.folded and not self._gamma_from_outputs(layer, factors):
            return True
        return "batch_square" in self.wanted and factors.ghost_cost > factors.rows * factors.columns * ENTRY_COST

    def _gamma_from_outputs(self, layer: WeightedLayer, factors: Factors) -> bool:
        """Whether the scale's gradient is taken from the layer's output, not from dW: where that costs less.

        Not where β outweighs γ: (z − β)/γ would lose too many digits.
        """
        if not np.all(np.abs(self._beta_over_gamma(layer)) < MOST_CANCELLATION):
            return False
        outputs = per_sample_size(self.graph.shape(layer.output)[1:]) * ENTRY_COST
        passes = 1 if self._kept_output(layer) != layer.output else PASSES_OF_UNFUSED
        by_output = min(factors.direct_cost, factors.ghost_cost) * factors.groups + passes * outputs
        by_weight = (factors.direct_cost + factors.rows * factors.columns * ENTRY_COST) * factors.groups
        return bool(by_output < by_weight)

    def _beta_over_gamma(self, layer: WeightedLayer) -> np.ndarray:
        """β/γ of a folded normalization, not finite where γ is 0."""
        norm = self.graph.folded[layer.operand]
        shift = self.graph.constants[norm.shift].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = norm.inverse_sigma * (shift / norm.ratio + norm.mean_minus_bias)
        return ratio

    def _kept_output(self, layer: WeightedLayer) -> str:
        """The output z, or its rectified form where nothing else reads z: the same wherever a cotangent arrives."""
        consumers = self.graph.consumers().get(layer.output, [])
        if len(consumers) == 1 and is_rectifier(self.graph, consumers[0]):
            return consumers[0].outputs[0]
        return layer.output

    # ── gradient norms ────────────────────────────────────────────────────────────────────────

    def _activation_square(self) -> list[str]:
        rows = []
        for layer in self.prepared.weighted:
            with self.g.scope(layer.nodes[0].name):
                rows.append(self._activation_squares_of(layer))
        return self._output("activation_square", weighted_sums(self.g, rows), (N, len(rows)))

    def _activation_squares_of(self, layer: WeightedLayer) -> tuple[str, np.ndarray]:
        """Squares and their coefficients in ‖dL/dy‖² of the layer's own output y.

        Behind a folded normalization dL/dy = γ/σ·dL/dz.
        """
        g, dy, shape = self.g, self.gradients.tensors[layer.output], self.graph.shape(layer.output)
        norm = self.graph.folded.get(layer.operand)
        if norm is None and len(shape) != 4:
            flat = g.samples_first(g.mul(dy, dy), shape)
            return g.reduce_sum(flat, (1,), keepdims=True), np.ones(1)
        squares = np.square(norm.ratio) if norm else np.ones(static(shape[1:2]))
        return g.position_sum(g.mul(dy, dy), shape), squares

    def _row_squares(self, layer: WeightedLayer) -> str:
        factors, dw = self._weight_gradient(layer)
        return factored.row_squares(self.g, factors, dw)

    def _weight_square(self) -> list[str]:
        return self._weighted_rows("weight_square", self._unfolding)

    def _scaled_square(self) -> list[str]:
        return self._weighted_rows("scaled_square", self._scaling)

    def _layers(self) -> tuple[WeightedLayer, ...]:
        return self.prepared.weighted

    def _weighted_rows(self, name: str, coefficients: Callable[[WeightedLayer, Factors], np.ndarray]) -> list[str]:
        rows = []
        for layer in self._layers():
            with self.g.scope(layer.nodes[0].name):
                factors, _ = self._weight_gradient(layer)
                rows.append((self._row_squares(layer), coefficients(layer, factors)))
        return self._output(name, weighted_sums(self.g, rows), (N, len(rows)))

    def _unfolding(self, layer: WeightedLayer, factors: Factors) -> np.ndarray:
        """(γ/σ)² per row: dL/dW = γ/σ · dL/dW' for W' = γ/σ·W."""
        norm = self.graph.folded.get(layer.operand)
        return np.square(norm.ratio)[factors.channels] if norm else np.ones(factors.all_rows)

    def _scaling(self, layer: WeightedLayer, factors: Factors) -> np.ndarray:
        """‖W'_c‖² per row, c its channel: ‖W_c‖·‖dW_c‖ is the same folded or not."""
        weight = self.graph.constants[layer.operand].astype(np.float64)
        rows = factors.arrangement.matrix(weight, factors.all_rows)
        by_row = np.square(rows).sum(axis=1)
        by_channel = np.bincount(factors.channels, by_row)
        return by_channel[factors.channels]

    def _batch_square(self) -> list[str]:
        entries = []
        for layer in self._layers():
            with self.g.scope(layer.nodes[0].name):
                factors, dw = self._weight_gradient(layer)
                squares = factored.batch_row_squares(self.g, factors, dw)
                weighted = self.g.mul(squares, self.g.constant(self._unfolding(layer, factors)))
                entries.append(self.g.reduce_sum(weighted, (0,), keepdims=True))
        return self._output("batch_square", self.g.op("Concat", *entries, axis=0), (len(entries),))

    def _bias_square(self) -> list[str]:
        columns = []
        for layer in self._layers():
            if layer.bias is not None:
                norm = self.graph.folded.get(layer.operand)
                with self.g.scope(layer.nodes[0].name):
                    if norm is None:
                        columns.append(self._parameter(layer.bias))
                    else:
                        shift, size = self._parameter(norm.shift)
                        columns.append((self.g.mul(shift, self.g.constant(norm.ratio[None])), size))
        rows = joined(self.g, dict(enumerate(columns)))
        return self._squares("bias_square", rows, len(columns))

    def _other_square(self) -> list[str]:
        folded = {norm.gamma: operand for operand, norm in self.graph.folded.items()}
        shifts = {norm.beta: norm.shift for norm in self.graph.folded.values()}
        layers = {layer.operand: layer for layer in self._layers()}
        plain: dict[int, tuple[str, int]] = {}
        scales: dict[int, Difference] = {}
        for column, other in enumerate(self.prepared.other_parameters):
            if other.name in folded:
                layer = layers[folded[other.name]]
                with self.g.scope(layer.nodes[0].name):
                    scales[column] = self._gamma(layer)
            else:
                plain[column] = self._parameter(shifts.get(other.name, other.name))
        rows = [*joined(self.g, plain), *differences(self.g, scales)]
        return self._squares("other_square", rows, len(plain) + len(scales))

    def _gamma(self, layer: WeightedLayer) -> Difference:
        """dγ of a folded normalization, with z = W'·x + b' and y = W·x + b.

        dγ_c = Σ_t dz·(y − μ)/σ, and Σ_t dz_ct·(W'x)_ct = ⟨W'_c, dW'_c⟩, so
        dγ_c = ⟨W'_c, dW'_c⟩/γ − (μ − b)/σ·dβ_c: no pre-activation has to be kept. Where dW is
        larger than z, and z at hand, dγ_c = Σ_t dz·z/γ_c − β_c/γ_c·dβ_c costs less.
        """
        g, norm = self.g, self.graph.folded[layer.operand]
        factors, dw = self._weight_gradient(layer)
        shift, channels = self._parameter(norm.shift)
        per_gamma = norm.inverse_sigma / norm.ratio
        if self._gamma_from_outputs(layer, factors):
            dz, z = self.gradients.tensors[layer.output], self._kept_output(layer)
            inner = g.position_sum(g.mul(dz, z), self.graph.shape(layer.output))
            return Difference(inner, 1, per_gamma, shift, self._beta_over_gamma(layer))
        weight = factors.arrangement.emit(g, layer.operand, (1, factors.all_rows, factors.columns))
        inner = g.reduce_sum(g.mul(dw(), weight), (2,))
        parts = factors.all_rows // channels
        return Difference(inner, parts, per_gamma, shift, norm.mean_minus_bias * norm.inverse_sigma)

    def _parameter(self, source: str) -> tuple[str, int]:
        """The per-sample gradient of a parameter, over all its uses, flat, and its size."""
        uses = self.gradients.parameters[source]
        total = uses[0]
        for use in uses[1:]:
            total = self.g.add(total, use)
        size = next(value.size for name, value in self.graph.constants.items() if self.graph.source(name) == source)
        return self.g.flat(total, size), size

    def _squares(self, name: str, rows: list[Rows], columns: int) -> list[str]:
        if not columns:
            return self._columns(name, [])
        return self._output(name, square_sums(self.g, rows), (N, columns))

    def _input_gradient(self) -> list[str]:
        return self._output("input_gradient", self.gradients.tensors[INPUT], self.graph.shape(INPUT))

    # ── forward quantities ────────────────────────────────────────────────────────────────────

    def _features(self) -> list[str]:
        if self.prepared.features is None:
            return []
        return self._output("features", features_tensor(self.prepared), (N, self.prepared.features))

    def _flat_output(self, layer: WeightedLayer) -> str:
        """The layer's own output y, [N, entries]; behind a folded normalization y = (z − b')·σ/γ + b."""
        g, tensor, shape = self.g, layer.output, self.graph.shape(layer.output)
        norm = self.graph.folded.get(layer.operand)
        if norm is not None:
            column = (-1, *[1] * (len(shape) - 2))
            shift = self.graph.constants[norm.shift].astype(np.float64)
            scale, bias = 1.0 / norm.ratio, norm.bias_value
            tensor = g.mul(tensor, g.constant(scale.reshape(column)))
            tensor = g.add(tensor, g.constant((bias - shift * scale).reshape(column)))
        return g.samples_first(tensor, shape)

    def _activation_mean(self) -> list[str]:
        columns = []
        for layer in self._layers():
            with self.g.scope(layer.nodes[0].name):
                columns.append(self._mean(self._flat_output(layer)))
        return self._columns("activation_mean", columns)

    def _activation_variance(self) -> list[str]:
        columns = []
        for layer in self._layers():
            with self.g.scope(layer.nodes[0].name):
                flat = self._flat_output(layer)
                centred = self.g.op("Sub", flat, self._mean(flat))
                columns.append(self._mean(self.g.mul(centred, centred)))
        return self._columns("activation_variance", columns)

    def _activation_zero_share(self) -> list[str]:
        g, columns = self.g, []
        for layer in self._layers():
            with g.scope(layer.nodes[0].name):
                if layer.rectifier is None:
                    columns.append(self._zeros())
                    continue
                output = layer.rectifier.outputs[0]
                flat = g.samples_first(output, self.graph.shape(output))
                zero = g.op("Where", g.op("Equal", flat, g.scalar(0.0)), g.scalar(1.0), g.scalar(0.0))
                columns.append(self._mean(zero))
        return self._columns("activation_zero_share", columns)

    def _zeros(self) -> str:
        """[N, 1], zero even where the logits are not finite."""
        g = self.g
        first = g.op("Slice", LOGITS, g.ints([0]), g.ints([1]), g.ints([1]))
        return g.op("Cast", g.op("Less", first, first), to=g.element_type)

    def _channel_peak(self) -> list[str]:
        g, columns, total = self.g, [], 0
        for layer, record in zip(self._layers(), self.prepared.layers, strict=True):
            if layer.rectifier is None:
                continue
            with g.scope(layer.nodes[0].name):
                output = layer.rectifier.outputs[0]
                shape = self.graph.shape(output)
                axes = [axis for axis in range(1, len(shape)) if axis != channel_axis_of(shape)]
                columns.append(g.op("ReduceMax", output, g.ints(axes), keepdims=0) if axes else output)
                total += record.channels
        return self._columns("channel_peak", columns, total)

    def _maps(self) -> list[str]:
        outputs: list[str] = []
        for layer, record in zip(self._layers(), self.prepared.layers, strict=True):
            tensor = layer.rectifier.outputs[0] if layer.rectifier else layer.output
            shape = self.graph.shape(tensor)
            if len(shape) == 3:
                tensor, shape = self.g.transpose(tensor, (0, 2, 1)), (shape[0], shape[2], shape[1])
            full: Shape = (*shape, *[1] * (4 - len(shape)))
            tensor = tensor if len(shape) == 4 else self.g.reshape(tensor, full)
            outputs += self._output(f"map/{record.name}", tensor, full)
        return outputs

    # ── how outputs are made ──────────────────────────────────────────────────────────────────

    def _mean(self, flat: str) -> str:
        return self.g.op("ReduceMean", flat, self.g.ints([1]), keepdims=1)

    def _columns(self, name: str, columns: list[str], width: int | None = None) -> list[str]:
        """One output [N, width] of its columns side by side."""
        width = len(columns) if width is None else width
        if not columns:
            empty = self.g.op("Slice", LOGITS, self.g.ints([0]), self.g.ints([0]), self.g.ints([1]))
            return self._output(name, empty, (N, 0))
        return self._output(name, self.g.op("Concat", *columns, axis=1), (N, width))

    def _output(self, name: str, tensor: str, shape: Shape) -> list[str]:
        """Call `tensor` by its output name."""
        self.graph.shapes[name], self.graph.dtypes[name] = shape, self.graph.dtype
        self.g.nodes.append(Node("Identity", (tensor,), (name,), name=f"{name}/output"))
        return [name]
