"""The one place that decides, by cost, how each layer's quantities are computed.

Three decisions are made for a layer, in this order: which of a rule's alternative factors are taken (those
that copy least), where the gradient of a folded normalization's scale comes from, and which way leads to the
squared norms of the rows of dW.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.gradient.norms import costs
from export.gradient.norms.joining import by_sample, of_all_uses
from export.gradient.norms.layers import WeightedLayer, is_rectifier
from export.gradient.norms.ways import Direct, Ghost, GivenGram, Way
from export.gradient.rules import registry
from export.gradient.rules.factors import Alternatives, Factors, Gram
from export.graph.emitter import Emitter
from export.graph.errors import refused_by_name
from export.graph.graph import Array, Graph, Node, per_sample_size

MOST_CANCELLATION = 100.0
"""Largest β/γ at which the gradient of a normalization's scale is taken from its output: it costs two digits."""


@dataclass(frozen=True)
class Plan:
    """The way in which the quantities of one layer are computed.

    `way` leads to the norms. The gradient of a folded normalization's scale comes from dW, which is then
    `way.product`, or from the layer's output, the tensor `output`.
    """

    way: Way
    output: str | None = None


class Planner:
    """Plans of all layers; factors and products are emitted once.

    `uses` has, for every layer's weight, the nodes that read it, each with the cotangent of its output.
    `batch`: the squared norm of the batch's summed gradient is wanted too.
    """

    def __init__(self, g: Emitter, uses: Mapping[str, Sequence[tuple[Node, str]]], *, batch: bool) -> None:
        self._g, self._uses, self._batch = g, uses, batch
        self.graph = g.graph
        self._plans: dict[str, Plan] = {}

    def plan(self, layer: WeightedLayer) -> Plan:
        """Decide for one layer, and emit its factors."""
        if layer.source not in self._plans:
            with self._g.scope(layer.nodes[0].name):
                self._plans[layer.source] = self._decide(layer)
        return self._plans[layer.source]

    def _decide(self, layer: WeightedLayer) -> Plan:
        factors, gram = self._least_copied(layer)
        if self._batch:
            gram = None  # the batch's gradient is a sum of L·R, which takes R
        output = self._output_for_scale(layer, factors, gram)
        scale_from_product = layer.operand in self.graph.folded and output is None
        # Once dW is formed, its norms and the batch's cost one pass each, less than any ghost norm.
        if scale_from_product or (self._batch and costs.ghost(factors) > costs.entries(factors)):
            return Plan(Direct(self._g, factors), output)
        return Plan(self._cheapest(factors, gram), output)

    def _least_copied(self, layer: WeightedLayer) -> tuple[Factors, Gram | None]:
        """The factors of the layer's summed gradient, and a Gram matrix where one is known."""
        found, grams = [], []
        for node, dy in self._uses[layer.source]:
            with refused_by_name(node.operator, node.name):
                given = registry.factors_rule(node)(self._g, node, dy)
                if isinstance(given, Alternatives):
                    grams.append(given.gram)
                    _, emit = min(given.ways, key=lambda way: way[0])
                    given = emit()
            found.append(by_sample(self._g, given))
        # A sum of gradients has the product of joined factors, and no Gram matrix of its own.
        return of_all_uses(self._g, layer.source, found), grams[0] if len(found) == len(grams) == 1 else None

    def _cheapest(self, factors: Factors, gram: Gram | None) -> Way:
        ways: list[tuple[float, Way]] = [
            (costs.direct(factors), Direct(self._g, factors)),
            (costs.ghost(factors), Ghost(self._g, factors)),
        ]
        if gram is not None:
            ways.append((costs.given_gram(gram), GivenGram(self._g, gram)))
        return min(ways, key=lambda way: way[0])[1]

    def _output_for_scale(self, layer: WeightedLayer, factors: Factors, gram: Gram | None) -> str | None:
        """The tensor from which the scale's gradient is taken, where that costs less than from dW; else None.

        Not where β outweighs γ: (z − β)/γ would lose too many digits.
        """
        if layer.operand not in self.graph.folded:
            return None
        if not (np.abs(beta_over_gamma(self.graph, layer)) < MOST_CANCELLATION).all():
            return None
        output = kept_output(self.graph, layer)
        passes = 1 if output != layer.output else costs.PASSES_OF_UNFUSED
        read = passes * per_sample_size(self.graph.shape(layer.output)[1:]) * costs.ENTRY_COST
        norms = min(costs.direct(factors), costs.ghost(factors), costs.given_gram(gram) if gram else np.inf)
        return output if norms + read < costs.direct(factors) + costs.entries(factors) else None


def beta_over_gamma(graph: Graph, layer: WeightedLayer) -> Array:
    """β/γ of the normalization folded into a layer, not finite where γ is 0."""
    norm = graph.folded[layer.operand]
    shift = graph.constants[norm.shift].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Array = norm.inverse_sigma * (shift / norm.ratio + norm.mean_minus_bias)
    return ratio


def kept_output(graph: Graph, layer: WeightedLayer) -> str:
    """Return the tensor of the layer's output z that the forward pass keeps for dz·z.

    Where a rectifier alone reads z, that is the rectifier's output: where it differs from z, dz is 0.
    """
    readers = graph.consumers().get(layer.output, [])
    if len(readers) == 1 and is_rectifier(graph, readers[0]):
        return readers[0].outputs[0]
    return layer.output
