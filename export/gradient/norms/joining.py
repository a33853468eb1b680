"""Factors of sums of gradients: over the parts of a sample, and over the uses of a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from export.gradient.norms.layers import weight_operand
from export.gradient.rules.factors import Factors
from export.graph.emitter import Emitter
from export.graph.errors import UnsupportedGraph
from export.graph.graph import Array, Batch, Graph, N, Node
from export.graph.names import shown
from export.tracing.evaluation import evaluate


def by_sample(g: Emitter, factors: Factors) -> Factors:
    """Turn factors of N·k rows (samples merged with windows, heads or tokens) into factors of N samples.

    dW_n = Σ_k L_nk·R_nk = [L_n1 L_n2 …]·[R_n1; R_n2; …]: the parts of a sample are so many more positions.
    """
    merged = factors.samples
    if merged == N:
        return factors
    assert isinstance(merged, Batch)
    parts, positions = merged.before * merged.after, factors.positions
    width = factors.columns // len(factors.right)
    lead = () if factors.groups == 1 else (factors.groups,)
    matrix = len(lead) + 3  # the first axis of the matrices, behind the three that the merged one is split into

    def apart(tensor: str, last: tuple[int, int], order: tuple[int, ...], whole: tuple[int, int]) -> str:
        split = g.reshape(tensor, (merged.before, Batch(), merged.after, *lead, *last))
        return g.reshape(g.transpose(split, (1, *range(3, matrix), *order)), (N, *lead, *whole))

    return replace(
        factors,
        left=apart(
            factors.left, (factors.rows, positions), (matrix, 0, 2, matrix + 1), (factors.rows, parts * positions)
        ),
        right=tuple(
            apart(right, (positions, width), (0, 2, matrix, matrix + 1), (parts * positions, width))
            for right in factors.right
        ),
        positions=parts * positions,
        samples=N,
    )


def of_all_uses(g: Emitter, weight: str, uses: Sequence[Factors]) -> Factors:
    """Factors of the summed gradient of a weight with several uses: Σ L·R = [L L' …]·[R; R'; …].

    Raises UnsupportedGraph where the uses arrange the weight differently.
    """
    first = uses[0]
    if len(uses) == 1:
        return first
    if any(
        (use.arrangement, use.rows, use.columns, use.groups)
        != (first.arrangement, first.rows, first.columns, first.groups)
        for use in uses
    ):
        raise _unlike(weight)
    axis = first.matrix_axis
    rights = [use.right[0] if len(use.right) == 1 else g.op("Concat", *use.right, axis=axis + 1) for use in uses]
    return replace(
        first,
        left=g.op("Concat", *(use.left for use in uses), axis=axis + 1),
        right=(g.op("Concat", *rights, axis=axis),),
        positions=sum(use.positions for use in uses),
    )


def require_whole_gradients(
    graph: Graph, uses: Mapping[str, Sequence[tuple[Node, str]]], others: Mapping[str, str]
) -> None:
    """Raise UnsupportedGraph where the gradient of a layer's weight is not the sum of its products' factors.

    `uses` has the nodes that multiply by each weight, `others` the operator that reads each parameter beside them.
    """
    for weight, nodes in uses.items():
        operands = list(dict.fromkeys(name for node, _ in nodes if (name := weight_operand(graph, node))))
        orders = [_order(graph, operand) for operand in operands] if len(operands) > 1 else []
        if any(not np.array_equal(order, orders[0]) for order in orders):
            raise _unlike(weight)
        if weight in others:
            raise UnsupportedGraph(
                f"the weight {shown(weight)!r} is read by {others[weight]} too, which is no layer; "
                "give every use its own copy"
            )


def _order(graph: Graph, constant: str) -> Array:
    """Return the places that a constant's numbers have in the parameter that it is a rearrangement of."""
    steps = []
    while constant in graph.origin:
        steps.append(graph.derivation[constant])
        constant = steps[-1].inputs[0]
    if constant not in graph.constants:
        raise _unlike(constant)  # a copy for every sample, of which one is read
    numbers: Array = np.arange(graph.constants[constant].size).reshape(graph.constants[constant].shape)
    for node in reversed(steps):
        if node.operator != "Cast":
            known = {name: graph.constants[name] for name in node.inputs[1:] if name}
            (numbers,) = evaluate(node, {node.inputs[0]: numbers, **known})
    return numbers.reshape(-1)


def _unlike(weight: str) -> UnsupportedGraph:
    return UnsupportedGraph(
        f"the weight {shown(weight)!r} is used in different arrangements; give every use its own copy"
    )
