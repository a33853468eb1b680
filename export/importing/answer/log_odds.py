"""Logits of independent labels from their probabilities: ln(p / (1 − p)), derived from the graph.

A label's probability that is a sigmoid of one number has that number as its logit, whatever moves, clips or turns it
afterwards. Elsewhere the logit is computed from the probability, as exactly as float32 holds that.
"""

from __future__ import annotations

import numpy as np

from export.graph.graph import Node
from export.importing.answer.logarithms import MOVED, PASSED, SMALLEST, Logarithms


def log_odds(logarithms: Logarithms, tensor: str) -> str | None:
    """Return the logits of a tensor of probabilities, of its shape; None where no sigmoid makes it."""
    found = _found(logarithms, tensor)
    return found if found is not None and logarithms.added.readable(found) else None


def floored_log_odds(logarithms: Logarithms, tensor: str) -> str:
    """Return ln(p / (1 − p)) computed from p, with both at least 1.2e-38; its gradient is exact above that."""
    added = logarithms.added
    smallest = added.constant(SMALLEST)
    both = (tensor, added.op("Sub", added.constant(1.0), tensor))
    return added.op("Sub", *(added.op("Log", added.op("Max", part, smallest)) for part in both))


def _found(logs: Logarithms, tensor: str) -> str | None:
    node = logs.producers.get(tensor)
    if node is None:
        return None
    if node.operator == "Sigmoid":
        return node.inputs[0]
    if node.operator in PASSED:
        return _found(logs, node.inputs[0])
    if node.operator in MOVED or node.operator == "Split":
        inner = _found(logs, node.inputs[0])
        return None if inner is None else logs.moved(node, inner, tensor)
    if node.operator == "Concat":
        parts = [_found(logs, name) for name in node.inputs]
        present = [part for part in parts if part is not None]
        return logs.added.op("Concat", *present, axis=node.attribute("axis")) if len(present) == len(parts) else None
    if node.operator == "Sub" and logs.is_one(node.inputs[0]):
        inner = _found(logs, node.inputs[1])
        return None if inner is None else logs.added.op("Neg", inner)
    return _clipped(logs, node) if node.operator == "Clip" else _by_hand(logs, node)


def _clipped(logs: Logarithms, node: Node) -> str | None:
    """Clip the logit at the logits of the bounds; a bound that no probability reaches is left out."""
    inner, constants = _found(logs, node.inputs[0]), logs.graph.constants
    names = [node.input(1), node.input(2)]
    if inner is None or any(name and name not in constants for name in names):
        return None
    bounds = [float(constants[name]) if name else None for name in names]
    limits = [
        logs.added.constant(np.log(bound) - np.log1p(-bound)) if bound is not None and 0 < bound < 1 else ""
        for bound in bounds
    ]
    return logs.added.op("Clip", inner, *limits) if any(limits) else inner


def _by_hand(logs: Logarithms, node: Node) -> str | None:
    """The x of 1 / (1 + e⁻ˣ)."""
    is_share = node.operator == "Reciprocal" or (node.operator == "Div" and logs.is_one(node.inputs[0]))
    total = logs.producers.get(node.inputs[-1]) if is_share else None
    if total is None or total.operator != "Add":
        return None
    terms = [name for name in total.inputs if not logs.is_one(name)]
    exponential = logs.producers.get(terms[0]) if len(terms) == 1 else None
    if exponential is None or exponential.operator != "Exp":
        return None
    opposite = logs.producers.get(exponential.inputs[0])
    if opposite is not None and opposite.operator == "Neg":
        return opposite.inputs[0]
    return logs.added.op("Neg", exponential.inputs[0])
