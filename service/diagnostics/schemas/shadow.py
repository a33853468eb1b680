"""Schemas of `GET /diagnostics/shadow`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema, Number
from service.diagnostics.schemas.gradients import LayerDifference
from service.diagnostics.schemas.versions import Share


class LabelPair(DiagnosticSchema):
    """Images of which the model says one thing and the shadow another."""

    answered: str = Field(description="label by the model; where labels are independent, all of them, joined by ` | `")
    shadow: str = Field(description="label by the shadow")
    images: int = Field(description="images that got this pair of answers")


class ComparedAnswers(DiagnosticSchema):
    """The answers of both versions on the same images, counted."""

    compared: int = Field(description="images that both versions answered")
    dropped: int = Field(
        description="images that were drawn and not compared: a request came first, or another image was being compared"
    )
    failed: int = Field(description="images that were drawn, and that the shadow failed on")
    agreements: int = Field(description="compared images with the same labels by both")
    disagreements: Share | None = Field(description="compared images with other labels; null before the first one")
    pairs: list[LabelPair] = Field(description="the most frequent disagreements, at most 20")
    other_pairs: int = Field(description="disagreements that are not in `pairs`")
    largest_difference: Number | None = Field(
        description="largest |probability by the shadow − by the model| of any label that both have"
    )
    mean_difference: Number | None = Field(
        description="mean of the same for the label that the model predicts; null if the shadow has none of them"
    )


class ComparedLayers(DiagnosticSchema):
    """The gradients of both versions on a part of the compared images, as `/diagnostics/compare` compares them."""

    images: int = Field(description="the last images whose gradients were measured, at most 256")
    moved: list[str] = Field(description="layers of the model whose gradient moved, in forward order")
    differences: list[LayerDifference] = Field(description="one per layer of the model, in forward order")


class Shadow(DiagnosticSchema):
    """`GET /diagnostics/shadow`: what a second version answers on live images, beside the one that answers."""

    state: Literal["comparing", "waiting"] = Field(description="whether images are compared now")
    reason: str | None = Field(description="why none is; null where they are compared")
    model: str | None = Field(description="name@version whose answers are compared; null if there is none")
    shadow: str = Field(description="name@version of the shadow")
    share: float = Field(description="share of the images that are drawn, 0 to 1")
    since: str | None = Field(
        description="when counting began, in UTC: it begins anew when one of the two is replaced; null before"
    )
    all: ComparedAnswers = Field(description="of all images since then")
    window: ComparedAnswers = Field(description="of the last compared images, at most 1,024")
    layers: ComparedLayers | None = Field(description="null before the first measurement, and where there is none")
    last_failure: str | None = Field(description="the last reason for which an image failed; null if none did")
    notes: list[str] = Field(description="what a reader of these numbers must know, in sentences")
    because: str = Field(description="what was seen, in one or two sentences")
