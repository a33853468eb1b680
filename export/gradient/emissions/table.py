"""Which function emits each output of `service.contract.outputs`."""

from __future__ import annotations

from collections.abc import Callable

from export.gradient.context import Build
from service.contract.outputs import OUTPUTS

Emission = Callable[[Build], list[str]]
"""Emits one output and returns the names of its tensors; none where the classifier does not have it."""

EMISSIONS: dict[str, Emission] = {}


def emits(output: str) -> Callable[[Emission], Emission]:
    """Register what emits an output; ValueError where the table has no such output, or it is emitted already."""
    if output in EMISSIONS or output not in {row.name for row in OUTPUTS}:
        raise ValueError(f"{output} is emitted already, or not in service/contract/outputs.py")

    def register(emission: Emission) -> Emission:
        EMISSIONS[output] = emission
        return emission

    return register
