"""Factors of sums of gradients: over the parts of a sample, and over the uses of a weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from export.gradient.rules.factors import Factors
from export.graph.emitter import Emitter
from export.graph.errors import UnsupportedGraph
from export.graph.graph import Batch, N


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
        raise UnsupportedGraph(f"the weight {weight!r} is used in different arrangements; give every use its own copy")
    axis = first.matrix_axis
    rights = [use.right[0] if len(use.right) == 1 else g.op("Concat", *use.right, axis=axis + 1) for use in uses]
    return replace(
        first,
        left=g.op("Concat", *(use.left for use in uses), axis=axis + 1),
        right=(g.op("Concat", *rights, axis=axis),),
        positions=sum(use.positions for use in uses),
    )
