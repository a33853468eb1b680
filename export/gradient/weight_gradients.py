"""The weight gradient of every layer, as the product of its factors: which of its quantities are taken from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from export.gradient.layers import WeightedLayer, is_rectifier
from export.gradient.norms import factors as factored
from export.gradient.norms.columns import Difference
from export.gradient.norms.factors import ENTRY_COST, Factors
from export.gradient.rules import registry
from export.gradient.shared import of_copies, per_sample
from export.graph.errors import UnsupportedGraph, refused_by_name
from export.graph.graph import Node, per_sample_size

if TYPE_CHECKING:
    from export.gradient.context import Build

MOST_CANCELLATION = 100.0
"""Largest β/γ at which the gradient of a normalization's scale is taken from its output: it costs two digits."""
PASSES_OF_UNFUSED = 3
"""Over an output that is kept for the sake of its gradient: nothing behind it is fused into the product then."""


class WeightGradients:
    """Factors and products, each emitted once."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._weights: dict[str, tuple[Factors, Callable[[], str]]] = {}

    def of(self, layer: WeightedLayer) -> tuple[Factors, Callable[[], str]]:
        """The factors of the layer's summed gradient, and how to emit their product (once)."""
        if layer.source not in self._weights:
            with self._build.g.scope(layer.nodes[0].name):
                uses = [self._use(node) for node in layer.nodes]
                if not factored.can_join(uses):
                    raise UnsupportedGraph(
                        f"the weight {layer.source!r} is used in different arrangements; give every use its own copy"
                    )
                factors = factored.joined(self._build.g, uses)
                factors = replace(factors, formed=self._must_form(layer, factors))
                if not factors.formed:
                    factors = self._for_norms(factors)
            self._weights[layer.source] = factors, lambda: factored.product(self._build.g, factors)
        return self._weights[layer.source]

    def _use(self, node: Node) -> Factors:
        g, dy = self._build.g, self._build.gradients.tensors[node.outputs[0]]
        if node.outputs[0] in g.graph.shared:
            own = per_sample(g, node)
            node, dy = own, of_copies(g, dy, node.outputs[0], own.outputs[0])
        with refused_by_name(node.operator, node.name):
            return registry.norm_twin(node)(g, node, dy)

    def _must_form(self, layer: WeightedLayer, factors: Factors) -> bool:
        """Whether dW itself pays: for the scale of a folded normalization, or for the batch's gradient."""
        if layer.operand in self._build.graph.folded and not self._gamma_from_outputs(layer, factors):
            return True
        return "batch_square" in self._build.wanted and factors.ghost_cost > factors.rows * factors.columns * ENTRY_COST

    def _for_norms(self, factors: Factors) -> Factors:
        """The cheapest for norms; not those without R where the batch's gradient, a sum of L·R, is wanted too."""
        return factors if "batch_square" in self._build.wanted else factored.for_norms(factors)

    def _gamma_from_outputs(self, layer: WeightedLayer, factors: Factors) -> bool:
        """Whether the scale's gradient is taken from the layer's output, not from dW: where that costs less.

        Not where β outweighs γ: (z − β)/γ would lose too many digits.
        """
        if not np.all(np.abs(self._beta_over_gamma(layer)) < MOST_CANCELLATION):
            return False
        outputs = per_sample_size(self._build.graph.shape(layer.output)[1:]) * ENTRY_COST
        passes = 1 if self._kept_output(layer) != layer.output else PASSES_OF_UNFUSED
        by_output = self._for_norms(factors).norm_cost * factors.groups + passes * outputs
        by_weight = (factors.direct_cost + factors.rows * factors.columns * ENTRY_COST) * factors.groups
        return bool(by_output < by_weight)

    def _beta_over_gamma(self, layer: WeightedLayer) -> np.ndarray:
        """β/γ of a folded normalization, not finite where γ is 0."""
        norm = self._build.graph.folded[layer.operand]
        shift = self._build.graph.constants[norm.shift].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = norm.inverse_sigma * (shift / norm.ratio + norm.mean_minus_bias)
        return ratio

    def _kept_output(self, layer: WeightedLayer) -> str:
        """The output z, or its rectified form where nothing else reads z: the same wherever a cotangent arrives."""
        consumers = self._build.graph.consumers().get(layer.output, [])
        if len(consumers) == 1 and is_rectifier(self._build.graph, consumers[0]):
            return consumers[0].outputs[0]
        return layer.output

    def gamma(self, layer: WeightedLayer) -> Difference:
        """dγ of a folded normalization, with z = W'·x + b' and y = W·x + b.

        dγ_c = Σ_t dz·(y − μ)/σ, and Σ_t dz_ct·(W'x)_ct = ⟨W'_c, dW'_c⟩, so
        dγ_c = ⟨W'_c, dW'_c⟩/γ − (μ − b)/σ·dβ_c: no pre-activation has to be kept. Where dW is
        larger than z, and z at hand, dγ_c = Σ_t dz·z/γ_c − β_c/γ_c·dβ_c costs less.
        """
        g, norm = self._build.g, self._build.graph.folded[layer.operand]
        factors, dw = self.of(layer)
        shift, channels = self._build.parameter(norm.shift)
        per_gamma = norm.inverse_sigma / norm.ratio
        if self._gamma_from_outputs(layer, factors):
            dz, z = self._build.gradients.tensors[layer.output], self._kept_output(layer)
            inner = g.position_sum(g.mul(dz, z), self._build.graph.shape(layer.output))
            return Difference(inner, 1, per_gamma, shift, self._beta_over_gamma(layer))
        weight = factors.arrangement.emit(g, layer.operand, (1, factors.all_rows, factors.columns))
        inner = g.reduce_sum(g.mul(dw(), weight), (2,))
        parts = factors.all_rows // channels
        return Difference(inner, parts, per_gamma, shift, norm.mean_minus_bias * norm.inverse_sigma)
