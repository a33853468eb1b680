"""Schemas of the verdict on a model's gradients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema, Explained, Number

State = Literal["not finite", "exploding", "vanishing", "dead", "imbalanced", "undetermined", "healthy"]
"""State of a layer or a model, the worst first."""


class Finding(Explained):
    """One rule that fired: the measured value, the threshold, and the layers."""

    finding: State = Field(description="what is wrong")
    rule: str = Field(
        description="which rule decided: `forward` or `backward` (not finite), `growth` or `size` (exploding), "
        "`decay`, `size` or `zero` (vanishing), `units` (dead), `deviation` (imbalanced), `certainty` (undetermined)"
    )
    value: Number = Field(description="what the rule measured, as `because` says it in words")
    threshold: Number = Field(description="the value from which, or down to which, the rule fires")
    layers: list[str] = Field(description="names of the layers concerned, in forward order")
    source: str = Field(description="where rule and threshold come from")


class DebuggerRule(DiagnosticSchema):
    """Result of a rule of Amazon SageMaker Debugger on the same numbers, at its documented default."""

    rule: str = Field(description="Debugger's name of the rule")
    fires: bool = Field(description="it would report these numbers")
    value: Number = Field(description="what the rule measured")
    threshold: Number = Field(description="Debugger's own default for it")
    layers: list[str] = Field(description="names of the layers for which it fires, in forward order")


class Verdict(Explained):
    """The state of a model; its words are those of the worst finding."""

    state: State = Field(description="worst finding, or healthy")
    looked_for: list[State] = Field(
        default=[], description="what was looked for, found or not: the worst first; an empty list if nothing was"
    )
    does_not_apply: dict[State, str] = Field(
        default={}, description="what cannot be found in such a network → why, in a sentence"
    )
    not_looked_for: list[str] = Field(
        default=[], description="what these images or graphs did not suffice to look for, and why: one sentence each"
    )
    findings: list[Finding] = Field(default=[], description="every rule that fired, the worst first")
    debugger: list[DebuggerRule] = Field(
        default=[], description="Amazon SageMaker Debugger's rules on the same numbers, for comparison"
    )
    thresholds: dict[str, float] = Field(default={}, description="the thresholds that were applied, by name")
