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


def logit_cotangent(g: Emitter, classes: int) -> str:
    """dz/dlogits·scale, [N, classes], z the logit of the class in `label` [N]; -1 stands for the largest."""
    is_label = _is_label(g, classes)
    return g.op("Where", is_label, g.reshape(SCALE, (-1, 1)), g.scalar(0.0))


def from_a_logit(g: Emitter, of_loss: str, classes: int) -> tuple[Emitter, str]:
    """Let a backward pass begin at a logit, where it began at the loss.

    All behind the beginning is the same, and so it is not emitted once more.

    Args:
        g: it has the backward pass, and stays as it is.
        of_loss: dL/dlogits·scale, with which that begins.

    Returns:
        The emitter of the other pass, and the tensor with which that begins.
    """
    own = g.fork()
    own.graph.shapes[LABEL] = (N,)
    begun = 1 + next(index for index, node in enumerate(own.nodes) if of_loss in node.outputs)
    loss, behind, own.nodes = own.nodes[:begun], own.nodes[begun:], []
    of_logit = logit_cotangent(own, classes)
    own.nodes = [*loss, *own.nodes, *(node.renamed({of_loss: of_logit}) for node in behind)]
    return own, of_logit


def _is_label(g: Emitter, classes: int) -> str:
    """Emit a mask of each sample's label, bool [N, classes]; label -1 stands for the predicted class."""
    predicted = g.op("ArgMax", LOGITS, axis=1, keepdims=1)
    given = g.reshape(LABEL, (-1, 1))
    label = g.op("Where", g.op("Less", given, g.ints([0])), predicted, given)
    return g.op("Equal", label, g.constant(np.arange(classes, dtype=np.int64)[None]))


def _of_exclusive(g: Emitter, classes: int) -> str:
    """Softmax − onehot.

    The label's own component is written as −Σ of the others: p − 1 of a confident sample cancels
    to 0 in float32, and telling 1e-12 from 0 is what diagnosing vanishing gradients is about.
    """
    is_label = _is_label(g, classes)
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
