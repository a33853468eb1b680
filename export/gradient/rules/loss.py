"""The loss of every sample with respect to its own labels, and its gradient with respect to the logits.

Exclusive classes have a cross-entropy, independent labels a binary cross-entropy, summed over the labels.
"""

from __future__ import annotations

import numpy as np

from export.graph.emitter import Emitter
from export.graph.graph import N, Shape
from export.graph.names import LOGITS
from service.contract.bundle_schema import LabelKindName

LABEL, SCALE = "label", "cotangent_scale"


def label_shape(kind: LabelKindName, classes: int) -> Shape:
    """Return the shape of the input `label`."""
    return (N, classes) if kind == "independent" else (N,)


def loss_cotangent(g: Emitter, kind: LabelKindName, classes: int) -> str:
    """dL/dlogits·scale, [N, classes]."""
    gradient = _of_independent(g) if kind == "independent" else _of_exclusive(g, classes)
    return g.mul(gradient, g.reshape(SCALE, (-1, 1)))


def _of_exclusive(g: Emitter, classes: int) -> str:
    """Softmax − onehot; label -1 stands for the predicted class.

    The label's own component is written as −Σ of the others: p − 1 of a confident sample cancels
    to 0 in float32, and telling 1e-12 from 0 is what diagnosing vanishing gradients is about.
    """
    predicted = g.op("ArgMax", LOGITS, axis=1, keepdims=1)
    given = g.reshape(LABEL, (-1, 1))
    label = g.op("Where", g.op("Less", given, g.ints([0])), predicted, given)
    is_label = g.op("Equal", label, g.constant(np.arange(classes, dtype=np.int64)[None]))
    others = g.op("Where", is_label, g.scalar(0.0), g.op("Softmax", LOGITS, axis=1))
    own = g.op("Neg", g.reduce_sum(others, (1,), keepdims=True))
    return g.op("Where", is_label, own, others)


def _of_independent(g: Emitter) -> str:
    """σ(z) − y; label 1 applies, 0 does not, and -1 is as predicted: y = 1 where z > 0.

    It is −σ(−z) where the label applies and σ(z) elsewhere, and σ(s) = e⁻ˢ' / (1 + e⁻ˢ') with s' = |s| where s < 0:
    nothing cancels. ONNX Runtime's own Sigmoid stops at ±18, and so would lose what a confident label leaves.
    """
    predicted = g.op("Greater", LOGITS, g.scalar(0.0))
    as_predicted = g.op("And", g.op("Less", LABEL, g.ints([0])), predicted)
    applies = g.op("Or", as_predicted, g.op("Greater", LABEL, g.ints([0])))
    against = g.op("Where", applies, g.op("Neg", LOGITS), LOGITS)
    small = g.op("Exp", g.op("Neg", g.op("Abs", against)))
    one = g.scalar(1.0)
    wrong = g.op("Greater", against, g.scalar(0.0))
    size = g.op("Div", g.op("Where", wrong, one, small), g.add(one, small))
    return g.op("Where", applies, g.op("Neg", size), size)
