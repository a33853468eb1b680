"""What the ways to a layer's norms cost per sample, in multiply-adds, from static sizes alone.

    direct   form dW = L·R, square, sum      rows · columns · positions, and rows · columns entries
    ghost    Σ_t ((L·(R·Rᵀ)) ∘ L)_rt         positions² · (rows + columns), and rows · positions entries

The ghost norm never forms dW (Goodfellow 2015; Li et al. 2021; Bu et al. 2022).
"""

from __future__ import annotations

from export.gradient.rules.factors import Factors, Gram

ENTRY_COST = 16
"""Multiply-adds of a product in the time that it takes to multiply the entries of one more tensor and to sum them."""
PASSES_OF_UNFUSED = 3
"""Passes over an output that is kept for its gradient: the runtime fuses nothing behind it into the product then."""


def direct(factors: Factors) -> float:
    """Form dW of all groups and square it."""
    return factors.groups * factors.rows * factors.columns * (factors.positions + ENTRY_COST)


def ghost(factors: Factors) -> float:
    """Form R·Rᵀ of all groups, and the ghost norm from it."""
    own = factors.positions**2 * factors.columns
    return factors.groups * (own + _from_gram(factors.rows, factors.positions))


def given_gram(gram: Gram) -> float:
    """The ghost norm where R·Rᵀ comes cheaper than by the product."""
    return gram.cost + _from_gram(gram.rows, gram.positions)


def entries(factors: Factors) -> float:
    """Multiply dW by another tensor, or reduce it, once more."""
    return factors.groups * factors.rows * factors.columns * ENTRY_COST


def _from_gram(rows: int, positions: int) -> float:
    return positions * rows * (positions + ENTRY_COST)
