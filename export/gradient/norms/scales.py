"""The gradient of a normalization's scale γ, where the normalization was folded into the layer before it."""

from __future__ import annotations

from export.gradient.norms.columns import Difference
from export.gradient.norms.layers import WeightedLayer
from export.gradient.norms.planner import Plan, beta_over_gamma
from export.gradient.norms.ways import Direct
from export.graph.emitter import Emitter


def scale_gradient(g: Emitter, layer: WeightedLayer, plan: Plan, dz: str, dbeta: str) -> Difference:
    """dγ per sample, with z = W'·x + b' = γ/σ·(y − μ) + β and y = W·x + b.

    dγ_c = Σ_t dz·(y − μ)/σ, and Σ_t dz_ct·(W'x)_ct = ⟨W'_c, dW'_c⟩, so
    dγ_c = ⟨W'_c, dW'_c⟩/γ − (μ − b)/σ·dβ_c: no pre-activation has to be kept. Where dW is larger than z, and
    z at hand, dγ_c = Σ_t dz·z/γ_c − β_c/γ_c·dβ_c costs less. `dz` is the cotangent of z, `dbeta` dβ [N, channels].
    """
    norm = g.graph.folded[layer.operand]
    per_gamma = norm.inverse_sigma / norm.ratio
    if plan.output is not None:
        inner = g.position_sum(g.mul(dz, plan.output), g.graph.shape(layer.output))
        return Difference(inner, 1, per_gamma, dbeta, beta_over_gamma(g.graph, layer))
    assert isinstance(plan.way, Direct)
    rows, columns = plan.way.arrangement.rows, plan.way.columns
    weight = plan.way.arrangement.emit(g, layer.operand, (1, rows, columns))
    inner = g.reduce_sum(g.mul(plan.way.product, weight), (2,))
    return Difference(inner, rows // norm.ratio.size, per_gamma, dbeta, norm.mean_minus_bias * norm.inverse_sigma)
