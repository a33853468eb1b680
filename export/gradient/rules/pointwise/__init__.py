"""Operators that work on one entry of each operand: arithmetic, functions, activations."""

from export.gradient.rules.pointwise import activation, arithmetic, functions

__all__ = ["activation", "arithmetic", "functions"]
