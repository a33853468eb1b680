"""Schemas of `POST /diagnostics/shattering`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Explained, Number


class Autocorrelation(DiagnosticSchema):
    """Autocorrelation of the input gradient along the path, by lag in points, beside that of two kinds of noise."""

    lags: list[int]
    mean: list[Number]
    white: list[Number]
    brown: list[Number]


class ShatteringVerdict(Explained):
    """`state` from the spectral exponent: near white noise (0) or near Brownian motion (2)."""

    state: Literal["shattered", "rough", "smooth", "undetermined"]
    value: Number
    threshold: Number
    rule: str
    source: str


class Shattering(AnsweredBy):
    """`POST /diagnostics/shattering`."""

    label: str | None = Field(description="of the loss; null where labels are independent")
    index: int | None
    labels: list[str] | None = Field(default=None, description="that apply in the loss, where labels are independent")
    indices: list[int] | None = None
    points: int
    correlation: list[list[Number]] = Field(description="[points, points] cosine between the gradients")
    autocorrelation: Autocorrelation
    spectral_exponent: Number
    gradient_norm: list[Number] = Field(description="‖dL/dinput‖ at each point")
    probability: list[Number] = Field(description="of the label, or of all labels being so together, at each point")
    verdict: ShatteringVerdict
