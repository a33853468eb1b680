"""Operators that move, repeat, mix along an axis, or leave out entries.

movement   Pad, Slice, Gather and their kind
shape      operators that only rename or move entries
resize     Resize
indexing   operators that read or write at computed places
sampling   GridSample, AffineGrid
axes       constant linear maps along one axis
"""

from export.gradient.rules.movement import indexing, movement, resize, sampling, shape

__all__ = ["indexing", "movement", "resize", "sampling", "shape"]
