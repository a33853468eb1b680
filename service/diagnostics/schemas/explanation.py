"""Schemas of `POST /diagnostics/explain`."""

from __future__ import annotations

from typing import Final, Literal, get_args

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Number

Method = Literal["grad_cam", "integrated_gradients", "smooth_grad", "input_x_gradient"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)


class EvidenceMap(DiagnosticSchema):
    """Numbers of a plane, row by row from the top, each row from the left."""

    height: int = Field(description="rows")
    width: int = Field(description="columns")
    values: list[list[Number]] = Field(description="[height, width]")


class Completeness(DiagnosticSchema):
    """Whether the evidence of all pixels together is what the logit rises by from the baseline to the picture."""

    baseline: str = Field(description="the input with which the picture is compared, in words")
    baseline_logit: Number = Field(description="logit of the label for the baseline")
    difference: Number = Field(description="`logit` less `baseline_logit`: what the evidence should add up to")
    evidence_sum: Number = Field(description="what the evidence of all pixels adds up to")
    relative_error: Number = Field(description="|evidence_sum − difference| / |difference|")
    holds: bool = Field(description="the relative error is at most 0.01")
    because: str = Field(description="the same in a sentence")


class ImageExplanation(DiagnosticSchema):
    """Where the evidence for one label lies in one image."""

    label: str = Field(description="name of the label whose logit is explained")
    index: int = Field(description="its index among the model's labels, from 0")
    logit: Number = Field(description="of the label, for this image")
    probability: Number = Field(description="of the label, 0 to 1")
    map: EvidenceMap = Field(
        description="the map at its own size: of the layer, for grad_cam; else of the network's input. grad_cam: at "
        "least 0. integrated_gradients and input_x_gradient: summed over the colours, in units of the logit, above 0 "
        "for the label and below 0 against it. smooth_grad: the largest of the colours' |gradients|, in units of the "
        "logit per unit of the preprocessed input"
    )
    picture_map: EvidenceMap | None = Field(
        description="the map, interpolated to the height × width of the network's input; null where `map` has that "
        "size already"
    )
    positive_share: Number | None = Field(
        description="share, 0 to 1, of the evidence that speaks for the label: sum of what is above 0 / sum of all "
        "magnitudes, before grad_cam leaves out what is below 0; null for smooth_grad, which has no sign, and where "
        "there is no evidence"
    )
    completeness: Completeness | None = Field(description="of integrated_gradients; null for the other methods")
    because: str = Field(description="what was seen, in one or two sentences")


class SampleExplanation(ImageExplanation):
    """One image, by a model whose classes exclude each other."""

    predicted_label: str = Field(description="name of the most probable class")
    predicted_index: int = Field(description="its index among the model's labels, from 0")


class SampleLabelsExplanation(ImageExplanation):
    """One image, by a model of independent labels."""

    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int] = Field(description="their indices among the model's labels, from 0")


SampleExplanations = list[SampleExplanation] | list[SampleLabelsExplanation]
"""One entry per image; of which kind, the model's `label_kind` says."""


class Explanations(AnsweredBy):
    """`POST /diagnostics/explain`."""

    method: Method = Field(description="how the evidence was found")
    layer: str | None = Field(description="of grad_cam: the layer whose map it is; null: the picture itself")
    steps: int | None = Field(
        description="runs per image that were averaged: points of the path of integrated_gradients, noisy copies of "
        "smooth_grad; null for the other methods"
    )
    steps_note: str | None = Field(
        description="why there are fewer steps than usual: the time before the deadline; null where there are not, or "
        "where the request says how many"
    )
    samples: SampleExplanations = Field(description="one per image, in the order sent")
    meaning: str = Field(description="what a map of this method says, and what it does not say")
    notes: list[str] = Field(default=[], description="what a reader of these very maps must know, in sentences")
