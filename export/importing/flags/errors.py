"""What can be wrong with a file or the flags it was imported with.

Faults of the file and its graph are `export.graph.errors`: InvalidModel, UnsupportedGraph and
UnsupportedOperator. What else can be wrong is:

    GradientError
    ├── OptionMismatch     a flag that does not fit the graph, or that the graph needs
    └── RuntimeMissing     ONNX Runtime is not installed, and a bundle's graphs are run before they are written
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from export.graph.errors import GradientError, InvalidModel, one_line


class OptionMismatch(GradientError):
    """A flag is missing, or contradicts what the graph says."""


class RuntimeMissing(GradientError):
    """ONNX Runtime, with which a bundle's graphs are tried, is not installed."""


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turn whatever a malformed file makes numpy, onnx or the importer raise into an InvalidModel about `path`.

    onnx's own checker may say what is wrong with the file. It is asked only now, for it also refuses files that run.
    """
    try:
        yield
    except (GradientError, OSError):
        raise
    except MemoryError as error:
        raise InvalidModel(f"{path}: there is not enough memory to import it") from error
    except Exception as error:
        raise InvalidModel(f"{path}: {_what_is_wrong(path, error)}") from error


def _what_is_wrong(path: Path, error: Exception) -> str:
    met = f"the importer does not understand it ({type(error).__name__}: {one_line(error)})"
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as found:
        return f"{met}; onnx's checker says: {one_line(found)}"
    return met
