"""Operators that move, repeat, mix along an axis, or leave out entries.

movement   Pad, Slice, Gather and their kind
shape      operators that only rename or move entries
resize     Resize
axes       constant linear maps along one axis
"""

from export.gradient.rules.movement import movement, resize, shape

__all__ = ["movement", "resize", "shape"]
