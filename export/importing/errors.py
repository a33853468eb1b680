"""What can be wrong with a file or the flags it was imported with.

Faults of the file and its graph are `export.gradient.errors`: InvalidModel, UnsupportedGraph and
UnsupportedOperator. What else can be wrong is:

    GradientError
    ├── OptionMismatch     a flag that does not fit the graph, or that the graph needs
    └── RuntimeMissing     ONNX Runtime is not installed, and a bundle's graphs are run before they are written
"""

from __future__ import annotations

from export.gradient.errors import GradientError


class OptionMismatch(GradientError):
    """A flag is missing, or contradicts what the graph says."""


class RuntimeMissing(GradientError):
    """What a bundle's graphs are tried with is not installed."""
