"""Errors about a graph that is to be differentiated.

    GradientError
    ├── UnsupportedOperator    no rule, or not with these attributes or operands
    ├── UnsupportedGraph       what the graph takes, gives or how it is laid out
    └── InvalidModel           not a valid ONNX model at all

    SamplesInTheWay            raised within a rule; `refused_by_name` turns it into UnsupportedOperator

Every message names what was found and says what to do about it.
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
    """Return the message of any error on one short line; its class where it has no message."""
    return " ".join(str(error).split())[:LONGEST_LINE] or type(error).__name__


def first_line(error: Exception) -> str:
    """Return the first line of an error's message; its class where it has no message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class SamplesInTheWay(ValueError):
    """The samples lie along an axis that an operator works along, or along none."""


@contextmanager
def refused_by_name(operator: str, node: str) -> Iterator[None]:
    """Turn SamplesInTheWay, raised in the block, into an UnsupportedOperator that names the node."""
    try:
        yield
    except SamplesInTheWay as error:
        raise UnsupportedOperator(
            operator, node, "it works along the batch: samples would mix", "keep the samples on an axis of their own"
        ) from error
