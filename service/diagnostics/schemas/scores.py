"""Schemas of `POST /diagnostics/scores`."""

from __future__ import annotations

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Number


class SampleScores(DiagnosticSchema):
    """Scores of one image.

    Out of distribution: low `max_probability`, low `energy`, high `layer_norm_distance`.
    Hard or mislabelled (with a label only): low `probability`, low `margin`, high `el2n` and `grand`.
    """

    label: str | None = Field(description="name of the label given; null without one")
    index: int | None = Field(description="its index among the model's labels, from 0; null without one")
    predicted_label: str = Field(description="name of the most probable class")
    predicted_index: int = Field(description="its index among the model's labels, from 0")
    probability: Number | None = Field(
        default=None,
        description="of the label, 0 to 1: low is suspect; the best score for wrong labels (docs/reports/scores.md); "
        "null without a label",
    )
    max_probability: Number = Field(description="of the most probable class, 0 to 1: low is foreign")
    energy: Number = Field(
        description="logsumexp of the logits, in nats (Liu et al. 2020, sign turned: high is familiar)"
    )
    gradnorm: Number | None = Field(
        description="‖features‖₁·‖softmax − uniform‖₁ (Huang et al. 2021); null without a linear last layer"
    )
    layer_norm_distance: Number | None = Field(
        description="Mahalanobis distance of the logarithms of the layers' norms from the training images': high is "
        "foreign; null if the bundle has no record of it"
    )
    margin: Number = Field(description="p_label − max other p; with no label, between the two largest")
    el2n: Number | None = Field(description="‖softmax − onehot‖₂ (Paul et al. 2021)")
    grand: Number | None = Field(description="√Σ_layers ‖dL/dW‖² (Paul et al. 2021, at this checkpoint)")


class SampleLabelsScores(DiagnosticSchema):
    """Scores of one image by a model of independent labels.

    Out of distribution: low `max_probability`, low `energy`, high `layer_norm_distance`.
    Hard or mislabelled (with labels only): low `probability`, high `el2n` and `grand`.
    """

    labels: list[str] | None = Field(description="names of the labels given; null without them")
    indices: list[int] | None = Field(description="their indices among the model's labels, from 0; null without them")
    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int] = Field(description="their indices among the model's labels, from 0")
    probability: Number | None = Field(description="that all labels are as given, 0 to 1; null without labels")
    max_probability: Number = Field(description="the largest of any label, 0 to 1")
    energy: Number = Field(description="Σ ln(1 + eᶻ) over the labels, in nats (Wang et al. 2021; high is familiar)")
    layer_norm_distance: Number | None = Field(
        description="Mahalanobis distance of the logarithms of the layers' norms from the training images': high is "
        "foreign; null if the bundle has no record of it"
    )
    el2n: Number | None = Field(description="‖σ(z) − y‖₂ (Paul et al. 2021)")
    grand: Number | None = Field(description="√Σ_layers ‖dL/dW‖² (Paul et al. 2021, at this checkpoint)")


SampleScoresList = list[SampleScores] | list[SampleLabelsScores]
"""One entry per image; of which kind, the model's `label_kind` says."""


class Scores(AnsweredBy):
    """`POST /diagnostics/scores`."""

    samples: SampleScoresList = Field(description="one per image, in the order sent")
    notes: list[str] = Field(default=[], description="which scores are missing and why, in sentences")
