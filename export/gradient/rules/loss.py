"""The loss: cross-entropy of every sample with respect to its own label."""

from __future__ import annotations

import numpy as np

from export.graph.emitter import Emitter
from export.graph.names import LOGITS

LABEL, SCALE = "label", "cotangent_scale"


def cross_entropy_cotangent(g: Emitter, classes: int) -> str:
    """dL/dlogits = (softmax − onehot)·scale, [N, classes]; label -1 stands for the predicted class.

    The label's own component is written as −Σ of the others: p − 1 of a confident sample cancels
    to 0 in float32, and telling 1e-12 from 0 is what diagnosing vanishing gradients is about.
    """
    predicted = g.op("ArgMax", LOGITS, axis=1, keepdims=1)
    given = g.reshape(LABEL, (-1, 1))
    label = g.op("Where", g.op("Less", given, g.ints([0])), predicted, given)
    is_label = g.op("Equal", label, g.constant(np.arange(classes, dtype=np.int64)[None]))
    others = g.op("Where", is_label, g.scalar(0.0), g.op("Softmax", LOGITS, axis=1))
    own = g.op("Neg", g.reduce_sum(others, (1,), keepdims=True))
    return g.mul(g.op("Where", is_label, own, others), g.reshape(SCALE, (-1, 1)))
