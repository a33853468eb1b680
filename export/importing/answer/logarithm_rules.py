"""Rules for ln y, one for each operator that makes y; `Logarithms.of` applies them.

A rule gets the node, and whether the logarithm is wanted `exact` or only up to one number per sample. It returns
the tensor of the logarithm, or None where the operands are not known to be positive.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.graph.graph import Node, per_sample_size
from export.importing.answer.logarithms import Logarithms, Rule


def softmax(logs: Logarithms, node: Node, exact: bool) -> str | None:
    if not exact and logs.covers_classes(node):
        return node.inputs[0]
    if not logs.is_within_samples(node):
        return None
    return logs.added.op("LogSoftmax", node.inputs[0], axis=node.attribute("axis", -1))


def exponential(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln eˣ = x, without the largest score, which some graphs subtract from x against overflow."""
    x = node.inputs[0]
    while not exact and (shift := logs.producers.get(x)) is not None and shift.operator == "Sub":
        if not logs.is_per_sample(shift.inputs[1]) or logs.graph.shape(shift.inputs[0]) != logs.graph.shape(x):
            break
        x = shift.inputs[0]
    return x


def sigmoid(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln σ(x) = −ln(1 + e⁻ˣ)."""
    return logs.added.op("Neg", logs.added.op("Softplus", logs.added.op("Neg", node.inputs[0])))


def square_root(logs: Logarithms, node: Node, exact: bool) -> str | None:
    inner = logs.of(node.inputs[0], exact)
    return inner and logs.added.op("Mul", inner, logs.added.constant(0.5))


def power(logs: Logarithms, node: Node, exact: bool) -> str | None:
    base, exponent = logs.of(node.inputs[0], exact), logs.graph.constants.get(node.inputs[1])
    if base is None or exponent is None or exponent.size != 1:
        return None
    return logs.added.op("Mul", base, logs.added.constant(exponent.astype(np.float32)))


def reciprocal(logs: Logarithms, node: Node, exact: bool) -> str | None:
    inner = logs.of(node.inputs[0], exact)
    return inner and logs.added.op("Neg", inner)


def product(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln(a·b) = ln a + ln b and ln(a/b) = ln a − ln b, without a factor that all classes of a sample share."""
    sum_of = "Add" if node.operator == "Mul" else "Sub"
    a, b = node.inputs
    if not exact and logs.is_common(b):
        return logs.alone(a, node, exact)
    if not exact and logs.is_common(a) and node.operator == "Mul":
        return logs.alone(b, node, exact)
    first, second = logs.of(a, exact), logs.of(b, exact)
    return None if first is None or second is None else logs.added.op(sum_of, first, second)


def difference(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln(x − 0) and ln(1 − x)."""
    if logs.is_zero(node.inputs[1]):
        return logs.alone(node.inputs[0], node, exact)
    same_shape = logs.graph.shape(node.inputs[1]) == logs.graph.shape(node.outputs[0])
    return logs.complement_of(node.inputs[1]) if logs.is_one(node.inputs[0]) and same_shape else None


def sum_of_all(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln(a + b + …) or ln of their mean; ln of the only term that is not zero."""
    terms = [name for name in node.inputs if not logs.is_zero(name)]
    if len(terms) == 1 and (node.operator != "Mean" or not exact):
        return logs.alone(terms[0], node, exact)
    logarithms = [logs.of(name, exact=True) for name in terms]
    total = logarithms[0]
    for other in logarithms[1:]:
        total = None if total is None or other is None else _sum_of_two(logs, total, other)
    if total is None or node.operator != "Mean":
        return total
    return logs.added.op("Sub", total, logs.added.constant(np.log(float(len(node.inputs)))))


def _sum_of_two(logs: Logarithms, a: str, b: str) -> str:
    """Return ln(eᵃ + eᵇ) = m + ln(eᵃ⁻ᵐ + eᵇ⁻ᵐ) with the larger m of the two, so that nothing overflows."""
    op = logs.added.op
    largest = op("Max", a, b)
    parts = (op("Exp", op("Sub", part, largest)) for part in (a, b))
    return op("Add", largest, op("Log", op("Add", *parts)))


def selected(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln of either of two, as `Where` selects; the logarithm of a constant of zeros is `floored`."""
    condition, *parts = node.inputs
    found = [logs.floored(name) if logs.is_zero(name) else logs.of(name, exact=True) for name in parts]
    present = [part for part in found if part is not None]
    return logs.added.op("Where", condition, *present) if len(present) == len(parts) else None


def reduced(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln of a sum, mean, maximum or minimum over axes."""
    inner = logs.of(node.inputs[0], exact=True)
    if inner is None:
        return None
    given = {name: value for name, value in node.attributes.items() if value is not None}
    if node.operator in ("ReduceMax", "ReduceMin"):
        return logs.added.op(node.operator, inner, *node.inputs[1:], **given)
    total = logs.added.op("ReduceLogSumExp", inner, *node.inputs[1:], **given)
    if node.operator == "ReduceSum":
        return total
    count = per_sample_size(logs.graph.shape(node.inputs[0])) / per_sample_size(logs.graph.shape(node.outputs[0]))
    return logs.added.op("Sub", total, logs.added.constant(np.log(count)))


def joined(logs: Logarithms, node: Node, exact: bool) -> str | None:
    parts = [logs.of(name, exact=True) for name in node.inputs]
    present = [part for part in parts if part is not None]
    return logs.added.op("Concat", *present, axis=node.attribute("axis")) if len(present) == len(parts) else None


def clipped(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln x clipped to the logarithms of the bounds; a bound that no probability reaches is left out."""
    bounds = [logs.graph.constants.get(name) for name in node.inputs[1:] if name]
    if any(bound is None for bound in bounds):
        return None
    low, high = (float(logs.graph.constants[name]) if (name := node.input(i)) else None for i in (1, 2))
    low = None if low is None or low <= 0 else low
    high = None if high is None or (high >= 1 and logs.at_most_one(node.inputs[0])) else high
    if low is None and high is None:
        return logs.of(node.inputs[0], exact)
    inner = logs.of(node.inputs[0], exact=True)
    if inner is None or (high is not None and high <= 0):
        return None
    limits = [logs.added.constant(np.log(bound)) if bound is not None else "" for bound in (low, high)]
    return logs.added.op("Clip", inner, *limits)


def extremum(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln max(a, b, …) = max(ln a, ln b, …), and so for the minimum."""
    parts = [logs.of(name, exact=True) for name in node.inputs if not logs.is_zero(name) or node.operator == "Min"]
    present = [part for part in parts if part is not None]
    return logs.added.op(node.operator, *present) if len(present) == len(parts) else None


def unit_sum(logs: Logarithms, node: Node, exact: bool) -> str | None:
    """ln(x/‖x‖₁) = ln x − ln Σx."""
    axis = node.attribute("axis", -1)
    if node.attribute("p", 2) != 1:
        return None
    if not exact and per_sample_size(logs.graph.shape(node.inputs[0])) == logs.graph.shape(node.inputs[0])[axis]:
        return logs.of(node.inputs[0], exact)
    inner = logs.of(node.inputs[0], exact=True)
    total = inner and logs.added.op("ReduceLogSumExp", inner, logs.added.constant([axis]), keepdims=1)
    return logs.added.op("Sub", inner, total) if inner and total else None


RULES: Mapping[str, Rule] = {
    "Softmax": softmax,
    "Exp": exponential,
    "Sigmoid": sigmoid,
    "Sqrt": square_root,
    "Pow": power,
    "Reciprocal": reciprocal,
    "Mul": product,
    "Div": product,
    "Add": sum_of_all,
    "Sum": sum_of_all,
    "Mean": sum_of_all,
    "Sub": difference,
    "ReduceSum": reduced,
    "ReduceMean": reduced,
    "ReduceMax": reduced,
    "ReduceMin": reduced,
    "Where": selected,
    "Concat": joined,
    "Clip": clipped,
    "Max": extremum,
    "Min": extremum,
    "LpNormalization": unit_sum,
}
