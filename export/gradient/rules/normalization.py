"""Normalization layers in inference mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.gradient.emitter import Cotangent, Emitter, PerSample
from export.gradient.graph import Array, Node
from export.gradient.registry import gradient


@gradient("BatchNormalization")
def batch_normalization(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """y = γ·(x − μ)/σ + β with constant μ and σ: samples do not mix."""
    if node.attribute("training_mode", 0):
        raise g.refusal(node, "training mode mixes the samples", "export the model in evaluation mode")
    gamma, _, mean, variance = (g.constant_operand(node, index) for index in range(1, 5))
    inverse_sigma = 1.0 / np.sqrt(variance.astype(np.float64) + node.attribute("epsilon", 1e-5))
    shape = g.shape(node.inputs[0])
    positions = range(2, len(shape))

    def column(values: Array) -> str:
        return g.constant(values.reshape(-1, *[1] * len(positions)))

    normalized = g.mul(g.op("Sub", node.inputs[0], column(mean)), column(inverse_sigma))
    dgamma = g.reduce_sum(g.mul(dy, normalized), positions)
    dbeta = g.reduce_sum(dy, positions)
    return g.mul(dy, column(gamma * inverse_sigma)), PerSample(dgamma), PerSample(dbeta), None, None
