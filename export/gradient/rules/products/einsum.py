"""Einsum: the gradient of an operand is the einsum of dy with all other operands."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from export.gradient.rules.registry import gradient
from export.graph.emitter import Cotangent, Emitter, PerSample
from export.graph.graph import Batch, Dimension, Node


@gradient("Einsum")
def einsum(g: Emitter, node: Node, dy: str) -> Sequence[Cotangent]:
    """Swap an operand for the result: "ab,bc->ac" has the gradients "ac,bc->ab" and "ab,ac->bc".

    The gradient of a parameter keeps the letter of the samples in front. An operand that was summed over an index of
    its own gets the same gradient all along it, one that was repeated along an index the sum.
    """
    shapes = [g.shape(name) for name in node.inputs]
    terms, result = explicit_terms(node.attribute("equation"), [len(shape) for shape in shapes])
    if any(len(set(term)) < len(term) for term in terms):
        raise g.refusal(node, "an index is repeated within one operand (a diagonal)", "write it without")
    sizes: dict[str, Dimension] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    batch = next((letter for letter, size in sizes.items() if isinstance(size, Batch)), None)
    if batch is None or batch not in result:
        raise g.refusal(node, "the samples are not one index of the result", "keep the batch axis first")
    gradients: list[Cotangent] = []
    for index, (term, name, shape) in enumerate(zip(terms, node.inputs, shapes, strict=True)):
        others = [(t, n) for i, (t, n) in enumerate(zip(terms, node.inputs, strict=True)) if i != index]
        reached = {letter for t, _ in others for letter in t} | set(result)
        found = [
            letter for letter, size in zip(term, shape, strict=True) if size == sizes[letter] and letter in reached
        ]
        constant = g.value(name) is not None
        lead = batch * constant
        equation = ",".join([result, *(t for t, _ in others)]) + "->" + lead + "".join(found)
        gradient = g.op("Einsum", dy, *(n for _, n in others), equation=equation)
        if len(found) < len(term):
            first = [sizes[batch]] * constant
            gradient = g.reshape(gradient, [*first, *(sizes[x] if x in found else 1 for x in term)])
            gradient = g.repeat(gradient, (*first, *shape))
        gradients.append(PerSample(g.sum_of_parts(gradient, (sizes[batch], *shape))) if constant else gradient)
    return gradients


def explicit_terms(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The operands' letters and the result's, ellipses spelled out and an implicit result made explicit."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [letter for letter in ascii_letters if letter not in equation]
    width = max((rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term), default=0)
    spare = "".join(free[:width])
    if not arrow:
        letters = "".join(terms).replace(".", "")
        right = ("..." if "..." in left else "") + "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        own = rank - len(term) + 3
        spelled.append(term.replace("...", spare[width - own :] if own else ""))
    return spelled, right.replace("...", spare)
