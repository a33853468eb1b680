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


class Scores(AnsweredBy):
    """`POST /diagnostics/scores`."""

    samples: list[SampleScores]
    notes: list[str] = Field(default=[])
