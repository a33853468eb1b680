"""The table of rules: one small function per ONNX operator.

How to add an operator
    1. In `rules/<kind>/` write one function, called after the operator in snake case:

           @gradient("Mul", broadcasts=True, copies="aligned")
           def mul(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
               a, b = node.inputs
               return g.mul(dy, b), g.mul(dy, a)

       It gets the cotangent of each output (one argument per output; None for an output of which
       no gradient is known) and returns exactly one entry per input:
         a tensor name   the gradient, of the operand's shape; with `broadcasts=True` of the
                         output's shape, and the loop sums it over the axes along which the
                         operand was repeated (sample by sample for a parameter)
         PerSample(t)    the gradient of a parameter, already reduced: [N, *shape of the parameter]
         None            no gradient flows there (an index, a shape, a running mean, a layer's
                         weight, whose gradient its factors give)
       Do not ask which gradients are wanted: emit all, dead nodes are removed once.
       Write the formula; `export.gradient.layout` fits what is emitted to the runtime.
       `g.shape(name)` is the forward shape, `node.attribute(name, default)` states ONNX's default,
       `g.constant_operand(node, i)` is the array of an operand that must be constant,
       `raise g.refusal(node, reason, advice)` refuses narrowly and by name.
       Samples must never mix, not even as 0·NaN: select with `Where`, never sum over the batch.
       `copies` says how the operator acts on a tensor that all samples share (see `Copies`);
       without it a trained constant that only such operators lead to gets no gradient, and a note.
    2. An operator that has a layer's weight gets a second function directly beneath, `@weight_factors(...)`, which
       returns the two `Factors` whose product is the per-sample weight gradient. How the norms are computed
       from them is decided in `export.gradient.norms.planner`.
    3. Operators whose results carry no gradient: `no_gradient("ArgMax", …)`.
    4. Operators that are not differentiated, where a reason is known: `refuse("Det", …)` in `refusals.py`.
    5. One line per attribute worth testing in `tests/export/gradient/cases/`; a test fails if a
       rule has no case.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from export.graph.errors import UnsupportedOperator
from export.graph.graph import Node
from export.standard.decompose import REWRITES

if TYPE_CHECKING:
    from export.gradient.rules.factors import Alternatives, Factors
    from export.graph.emitter import Cotangent, Emitter

Rule = Callable[..., "Sequence[Cotangent]"]
FactorsRule = Callable[["Emitter", Node, str], "Factors | Alternatives"]

Copies = Literal["entrywise", "aligned", "axis", "axes", "rows"]
"""The change of a node where each sample has its own copy of a tensor, along a new first axis (`shared.py`):

entrywise   nothing: the rule names no axis
aligned     axes of 1 behind the samples' axis, because operands are aligned from the last axis on
axis        its attribute `axis` greater by one
axes        axes that it names in another way greater by one; `shared.py` knows how
rows        the copies as rows of the first axis, N·s₀ of them; only the first operand has copies
"""

_gradients: dict[str, Rule] = {}
_copies: dict[str, Copies] = {}
_broadcasts: set[str] = set()
_factors: dict[str, FactorsRule] = {}
_without: set[str] = set()
_refusals: dict[str, tuple[str, str]] = {}


def gradient(*operators: str, broadcasts: bool = False, copies: Copies | None = None) -> Callable[[Rule], Rule]:
    """Register a rule; ValueError where the operator already has one.

    `broadcasts`: the operands are broadcast, and gradients come in the output's shape.
    `copies`: how it acts on tensors that all samples share; None where it has no gradient of them.
    """

    def register(rule: Rule) -> Rule:
        for operator in operators:
            if operator in _gradients or operator in _without:
                raise ValueError(f"{operator} already has a gradient rule")
            _gradients[operator] = rule
            if broadcasts:
                _broadcasts.add(operator)
            if copies is not None:
                _copies[operator] = copies
        return rule

    return register


def weight_factors(*operators: str) -> Callable[[FactorsRule], FactorsRule]:
    """Register what gives the factors of a weight's gradient; ValueError on a double."""

    def register(rule: FactorsRule) -> FactorsRule:
        for operator in operators:
            if operator in _factors:
                raise ValueError(f"{operator} already has factors of its weight's gradient")
            _factors[operator] = rule
        return rule

    return register


def no_gradient(*operators: str) -> None:
    """Register operators through which no gradient flows; ValueError on a double."""
    for operator in operators:
        if operator in _gradients or operator in _without:
            raise ValueError(f"{operator} already has a gradient rule")
        _without.add(operator)


def refuse(*operators_reason_advice: str) -> None:
    """Say of operators without a rule why there is none and what to do: names, then the reason, then the advice."""
    *operators, reason, advice = operators_reason_advice
    _refusals.update(dict.fromkeys(operators, (reason, advice)))


def known_operators() -> tuple[str, ...]:
    """Every operator with a rule, rewritten as ones with a rule, or known to carry no gradient, by name."""
    return tuple(sorted({*_gradients, *_without, *REWRITES}))


def operators_with_rules() -> tuple[str, ...]:
    """Every operator with a gradient rule, by name."""
    return tuple(sorted(_gradients))


def carries_gradient(operator: str) -> bool:
    """True where a gradient flows through the operator: not through a shape, an index or a condition."""
    return operator not in _without


def gradient_rule(node: Node) -> Rule:
    """The rule for a node; UnsupportedOperator where there is none, or none for an output that is read."""
    if node.operator in _without:
        return lambda g, node, *dys: (None,) * len(node.inputs)
    if node.operator not in _gradients:
        unknown = (
            "there is no gradient rule for this operator",
            "name an earlier tensor as output, or export without it",
        )
        raise UnsupportedOperator(node.operator, node.name, *_refusals.get(node.operator, unknown))
    if len(node.outputs) > _cotangents(_gradients[node.operator]):
        raise UnsupportedOperator(
            node.operator,
            node.name,
            f"its output {node.outputs[-1]!r} is read, whose gradient is not known",
            "read only the first",
        )
    return _gradients[node.operator]


def broadcasts(operator: str) -> bool:
    """True where the operator's gradients come in the shape of its output."""
    return operator in _broadcasts


def copies(operator: str) -> Copies | None:
    """Return what the operator needs where samples have copies of a tensor; None where it has no gradient there."""
    return _copies.get(operator)


def _cotangents(rule: Rule) -> float:
    """The number of a node's outputs whose cotangents the rule takes."""
    parameters = list(inspect.signature(rule).parameters.values())
    several = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return math.inf if several else len(parameters) - len(("g", "node"))


def factors_rule(node: Node) -> FactorsRule:
    """Return the function that gives the factors of a weight gradient, for a node that reads a layer's weight."""
    return _factors[node.operator]


def has_weight(operator: str) -> bool:
    """True for operators that multiply by a layer's weight."""
    return operator in _factors
