"""Schemas of the verdict on a model's gradients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema, Number

State = Literal["exploding", "vanishing", "dead", "imbalanced", "undetermined", "healthy"]
"""State of a layer or a model, the worst first."""


class Finding(DiagnosticSchema):
    """One rule that fired: the measured value, the threshold, and the layers."""

    finding: State
    rule: str = Field(description="which rule decided, in words")
    value: Number
    threshold: Number
    layers: list[str] = Field(description="names of the layers concerned, in forward order")
    source: str = Field(description="where rule and threshold come from")


class DebuggerRule(DiagnosticSchema):
    """Result of a rule of Amazon SageMaker Debugger on the same numbers, at its documented default."""

    rule: str
    fires: bool
    value: Number
    threshold: Number
    layers: list[str]


class Verdict(DiagnosticSchema):
    """The worst finding, why, and every finding; `thresholds` are those that were applied."""

    state: State
    because: str
    findings: list[Finding] = Field(default=[])
    debugger: list[DebuggerRule] = Field(default=[])
    thresholds: dict[str, float] = Field(default={})
