"""Errors about the flags that a file is imported with, beside those about its graph (`export.graph.errors`).

GradientError
├── OptionMismatch     a flag contradicts the graph, or is missing
└── RuntimeMissing     ONNX Runtime, on which a bundle's graphs are tried, is not installed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from export.graph.errors import GradientError, InvalidModel, one_line


class OptionMismatch(GradientError):
    """A flag is missing or contradicts the graph."""


class RuntimeMissing(GradientError):
    """ONNX Runtime, on which a bundle's graphs are tried, is not installed."""


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turn any other error that a malformed file causes in the block into an InvalidModel about `path`.

    onnx's checker may explain what is wrong with the file. It runs only now, because it also refuses files that work.
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
