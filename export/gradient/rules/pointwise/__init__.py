"""Operators that work on one entry of each operand.

arithmetic   arithmetic with broadcasting
functions    functions of one number
activation   activation functions
"""

from export.gradient.rules.pointwise import activation, arithmetic, functions

__all__ = ["activation", "arithmetic", "functions"]
