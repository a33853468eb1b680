"""Schemas of `POST /diagnostics/scores`."""

from __future__ import annotations

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Number


class SampleScores(DiagnosticSchema):
    """Scores of one image.

    Out of distribution: low `max_probability`, low `energy`, high `layer_norm_distance`.
    Hard or mislabelled (with a label only): low `probability`, low `margin`, high `el2n` and `grand`.
    """

    label: str | None
    index: int | None
    predicted_label: str
    predicted_index: int
    probability: Number | None = Field(
        default=None,
        description="of the label: low is suspect, the best of these scores (docs/scores.md); null without a label",
    )
    max_probability: Number
    energy: Number = Field(description="logsumexp of the logits (Liu et al. 2020, sign turned: high is familiar)")
    gradnorm: Number | None = Field(
        description="‖features‖₁·‖softmax − uniform‖₁ (Huang et al. 2021); null without a linear last layer"
    )
    layer_norm_distance: Number | None = Field(
        description="Mahalanobis, of the log norms by layer; null without reference"
    )
    margin: Number = Field(description="p_label − max other p; with no label, between the two largest")
    el2n: Number | None = Field(description="‖softmax − onehot‖₂ (Paul et al. 2021)")
    grand: Number | None = Field(description="√Σ_layers ‖dL/dW‖² (Paul et al. 2021, at this checkpoint)")


class SampleLabelsScores(DiagnosticSchema):
    """Scores of one image by a model of independent labels.

    Out of distribution: low `max_probability`, low `energy`, high `layer_norm_distance`.
    Hard or mislabelled (with labels only): low `probability`, high `el2n` and `grand`.
    """

    labels: list[str] | None
    indices: list[int] | None
    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int]
    probability: Number | None = Field(description="that all labels are as given; null without labels")
    max_probability: Number = Field(description="the largest of any label")
    energy: Number = Field(description="Σ ln(1 + eᶻ) over the labels (Wang et al. 2021; high is familiar)")
    layer_norm_distance: Number | None = Field(
        description="Mahalanobis, of the log norms by layer; null without reference"
    )
    el2n: Number | None = Field(description="‖σ(z) − y‖₂ (Paul et al. 2021)")
    grand: Number | None = Field(description="√Σ_layers ‖dL/dW‖² (Paul et al. 2021, at this checkpoint)")


SampleScoresList = list[SampleScores] | list[SampleLabelsScores]
"""One entry per image; of which kind, the model's `label_kind` says."""


class Scores(AnsweredBy):
    """`POST /diagnostics/scores`."""

    samples: SampleScoresList
    notes: list[str] = Field(default=[])
