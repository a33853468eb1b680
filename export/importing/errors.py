"""What can be wrong with a file or the flags it was imported with.

Faults of the file and its graph are `export.gradient.errors`: InvalidModel, UnsupportedGraph and
UnsupportedOperator. What the caller said and the graph contradicts is:

    GradientError
    └── OptionMismatch     a flag that does not fit the graph, or that the graph needs
"""

from __future__ import annotations

from export.gradient.errors import GradientError


class OptionMismatch(GradientError):
    """A flag is missing, or contradicts what the graph says."""
