"""Schemas of `POST /diagnostics/shattering`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Explained, Number


class Autocorrelation(DiagnosticSchema):
    """Autocorrelation of the input gradient along the path, by lag in points, beside that of two kinds of noise."""

    lags: list[int] = Field(description="0 to points/2 − 1, in points of the path")
    mean: list[Number] = Field(description="one per lag: of this model's gradient; 1 at lag 0")
    white: list[Number] = Field(description="one per lag: of white noise, by the same estimator")
    brown: list[Number] = Field(description="one per lag: of Brownian motion, by the same estimator")


class ShatteringVerdict(Explained):
    """`state` from the spectral exponent: near white noise (0) or near Brownian motion (2)."""

    state: Literal["shattered", "rough", "smooth", "undetermined"] = Field(
        description="shattered below the threshold; smooth from 1 with 64 points, and from the bound that is carried "
        "over for another number"
    )
    value: Number = Field(description="spectral exponent that was measured")
    threshold: Number = Field(
        description="spectral exponent below which the gradient is shattered, carried over to the path's number of "
        "points"
    )
    rule: str = Field(description="what was looked at, in words")
    source: str = Field(description="where rule and threshold come from")


class Shattering(AnsweredBy):
    """`POST /diagnostics/shattering`."""

    label: str | None = Field(description="of the loss; null where labels are independent")
    index: int | None = Field(description="its index among the model's labels, from 0; null with it")
    labels: list[str] | None = Field(default=None, description="that apply in the loss, where labels are independent")
    indices: list[int] | None = Field(default=None, description="their indices among the model's labels, from 0")
    points: int = Field(description="inputs on the path, both ends included")
    points_note: str | None = Field(
        default=None,
        description="why there are fewer points than usual: the time before the deadline; null where there are not, or "
        "where the request says how many",
    )
    correlation: list[list[Number]] = Field(
        description="[points, points]: cosine between the gradients at two points, −1 to 1"
    )
    autocorrelation: Autocorrelation = Field(description="how fast the gradient forgets itself along the path")
    spectral_exponent: Number = Field(
        description="−slope of log power over log frequency along the path: 0 for white noise, 2 for Brownian motion"
    )
    gradient_norm: list[Number] = Field(
        description="one per point: ‖dL/dx‖₂ of the preprocessed image x, in nats per unit of x"
    )
    probability: list[Number] = Field(
        description="one per point: of the label, or of all labels being so together, 0 to 1"
    )
    verdict: ShatteringVerdict = Field(description="on the path")
