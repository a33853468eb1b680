"""Schemas of `POST /diagnostics/gradients` and `POST /diagnostics/compare`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Explained, Number
from service.diagnostics.schemas.verdict import State, Verdict


class SampleLoss(DiagnosticSchema):
    """One image: the class of its loss, and how the network classifies it."""

    label: str
    index: int
    loss: Number = Field(description="cross-entropy in nats, float64 from the logits")
    probability: Number = Field(description="of that class")
    predicted_label: str
    predicted_index: int
    logit_gradient_norm: Number = Field(description="‖dL/dlogits‖₂; verdicts divide by it")
    saturated: bool = Field(
        description="dL/dlogits is 0 in float32, and so is every gradient; the verdict takes the runner-up class"
    )


class SampleLabelsLoss(DiagnosticSchema):
    """One image of a model of independent labels: the labels of its loss, and those that the network predicts."""

    labels: list[str] = Field(description="that apply in this loss; the others do not")
    indices: list[int]
    loss: Number = Field(description="binary cross-entropy in nats, summed over all labels, float64 from the logits")
    probabilities: list[Number] = Field(description="of those labels, each its own")
    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int]
    logit_gradient_norm: Number = Field(description="‖dL/dlogits‖₂; verdicts divide by it")
    saturated: bool = Field(
        description="dL/dlogits is 0 in float32, and so is every gradient; the verdict turns one label over"
    )


SampleLosses = list[SampleLoss] | list[SampleLabelsLoss]
"""One entry per image; of which kind, the model's `label_kind` says."""


class NoiseScale(DiagnosticSchema):
    """Noise scale S / |G|² in images (McCandlish et al. 2018, appendix A.1), with a 95 % jackknife interval."""

    state: Literal["determined", "undetermined"]
    images: int
    gradient_square: Number = Field(description="|G|², unbiased; may be negative, then undetermined")
    variance: Number = Field(description="S, the trace of the per-sample covariance, unbiased")
    noise_scale: Number | None
    low: Number | None
    high: Number | None


class LayerActivations(DiagnosticSchema):
    """Statistics of a layer's own output, one per sample; `zero_share` is of the rectifier that follows."""

    mean: list[Number]
    variance: list[Number]
    zero_share: list[Number]


class LayerBaseline(DiagnosticSchema):
    """A layer compared with the bundle's training images; `low`, `median`, `high` are of `relative_gradient_norm`."""

    low: Number
    median: Number
    high: Number
    outside_share: Number = Field(description="share of the samples below `low` or above `high`")


class LayerGradients(DiagnosticSchema):
    """One weighted layer, and its norms per sample (L2, of the summed per-sample losses)."""

    name: str
    operator: str
    depth: int
    shape: list[int]
    parameters: int
    uses: int
    weight_norm: Number
    activation_gradient_norm: list[Number]
    weight_gradient_norm: list[Number]
    scaled_gradient_norm: list[Number]
    bias_gradient_norm: list[Number] | None
    gradient_to_weight_ratio: list[Number]
    relative_gradient_norm: list[Number] = Field(
        description="scaled_gradient_norm / ‖dL/dlogits‖: what vanishing, exploding and imbalanced are decided on"
    )
    batch_gradient_norm: Number | None = Field(
        default=None, description="of the mean loss; with include=batch_gradient"
    )
    dead_fraction: Number | None = None
    noise_scale: NoiseScale | None = None
    activations: LayerActivations | None = None
    baseline: LayerBaseline | None = None
    verdict: State


class OtherParameterGradients(DiagnosticSchema):
    """A trained tensor that is no layer."""

    name: str
    operator: str
    parameters: int
    gradient_norm: list[Number]


class UnlikeItself(Explained):
    """Layers whose norms are outside the range that the bundle recorded on its training images."""

    unlike: bool = Field(description="whether more than a quarter of the layers are")
    images: int = Field(description="training images behind the quantiles")
    low_quantile: float
    high_quantile: float
    layers: list[str]


class InputGradient(DiagnosticSchema):
    """dL/dinput of one image: its L2 norm, and its absolute value as a grey PNG in a data URL."""

    norm: Number
    picture: str


class Gradients(AnsweredBy):
    """`POST /diagnostics/gradients`."""

    samples: SampleLosses
    layers: list[LayerGradients]
    other_parameters: list[OtherParameterGradients]
    noise_scale: NoiseScale | None = Field(default=None, description="of all layers together")
    input_gradients: list[InputGradient] | None = None
    unlike_itself: UnlikeItself | None = None
    verdict: Verdict
    notes: list[str] = Field(default=[])


class ComparedModel(AnsweredBy):
    """The gradients of one of the models that are compared."""

    samples: SampleLosses
    layers: list[LayerGradients]
    verdict: Verdict


class LayerDifference(DiagnosticSchema):
    """One layer of `other`, compared with the layer of `model` that it corresponds to."""

    model: str = Field(description="name@version of the first model")
    other: str
    layer: str = Field(description="layer of `model`")
    other_layer: str = Field(description="layer of `other`: the same name and shape, else the nearest relative depth")
    matched_by: Literal["name", "depth"]
    decades: Number = Field(description="median over samples of log10(other / model) of relative_gradient_norm")
    moved: bool


class Comparison(DiagnosticSchema):
    """`POST /diagnostics/compare`; every later model is compared with the first."""

    request_id: str
    models: list[ComparedModel]
    differences: list[LayerDifference]
    predictions_differ: list[int] = Field(description="samples on which not all models predict the same label")
    because: str = Field(description="the comparison in one sentence")
