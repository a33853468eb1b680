"""What can be wrong with a graph that was to be differentiated.

    GradientError
    ├── UnsupportedOperator    no rule, or not with these attributes or operands
    ├── UnsupportedGraph       what the graph takes, gives or how it is laid out
    └── InvalidModel           not a valid ONNX model at all

    SamplesInTheWay            raised within a rule, which `refused_by_name` turns into UnsupportedOperator

Every message names what was met and says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_LINE = 300


class GradientError(Exception):
    """A graph that cannot be differentiated."""


class InvalidModel(GradientError):
    """The file is not a well-formed ONNX model."""


class UnsupportedGraph(GradientError):
    """A well-formed model that is not a differentiable classifier of one input."""


class UnsupportedOperator(GradientError):
    """One node that cannot be differentiated: `operator`, `node`, `reason`, and `advice`."""

    def __init__(self, operator: str, node: str, reason: str, advice: str) -> None:
        super().__init__(f"{operator} (node {node!r}): {reason}; {advice}")
        self.operator = operator
        self.node = node
        self.reason = reason
        self.advice = advice


def one_line(error: Exception) -> str:
    """The words of any error, or its kind where it has none, short enough to stand within another's."""
    return " ".join(str(error).split())[:LONGEST_LINE] or type(error).__name__


def first_line(error: Exception) -> str:
    """The first line of an error's words, or its kind where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class SamplesInTheWay(ValueError):
    """The samples lie along an axis that an operator works on, or along none at all."""


@contextmanager
def refused_by_name(operator: str, node: str) -> Iterator[None]:
    """A rule that finds the samples in its way refuses the node that it was asked for."""
    try:
        yield
    except SamplesInTheWay as error:
        raise UnsupportedOperator(
            operator, node, "it works along the batch: samples would mix", "keep the samples on an axis of their own"
        ) from error
