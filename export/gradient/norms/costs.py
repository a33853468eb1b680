"""Costs of the ways to a layer's norms, in multiply-adds per sample, from static sizes alone.

    direct   form dW = L·R, square, sum      rows · columns · positions, and rows · columns entries
    ghost    Σ_t ((L·(R·Rᵀ)) ∘ L)_rt         positions² · (rows + columns), and rows · positions entries

The ghost norm never forms dW (Goodfellow 2015; Li et al. 2021; Bu et al. 2022). An entry of a tensor that is
multiplied and summed counts as `ENTRY_COST`.
"""

from __future__ import annotations

from export.gradient.rules.factors import Factors, Gram

ENTRY_COST = 16
"""Multiply-adds of a product that take as long as multiplying and summing one entry of a tensor."""
PASSES_OF_UNFUSED = 3
"""Passes over an output that must be kept: the runtime then fuses nothing that follows into the layer."""


def direct(factors: Factors) -> float:
    """Cost of forming dW of all groups and squaring it."""
    return factors.groups * factors.rows * factors.columns * (factors.positions + ENTRY_COST)


def ghost(factors: Factors) -> float:
    """Cost of the ghost norm of all groups, R·Rᵀ included."""
    own = factors.positions**2 * factors.columns
    return factors.groups * (own + _from_gram(factors.rows, factors.positions))


def given_gram(gram: Gram) -> float:
    """Cost of the ghost norm from an R·Rᵀ that a rule knows without R."""
    return gram.cost + _from_gram(gram.rows, gram.positions)


def entries(factors: Factors) -> float:
    """Cost of one more pass over dW."""
    return factors.groups * factors.rows * factors.columns * ENTRY_COST


def _from_gram(rows: int, positions: int) -> float:
    return positions * rows * (positions + ENTRY_COST)
