"""Operators that move, repeat, mix along an axis, or leave out entries."""

from export.gradient.rules.movement import movement, resize, shape

__all__ = ["movement", "resize", "shape"]
