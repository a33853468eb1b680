"""The answers of `/diagnostics/…`, as JSON. Lists "one per sample" are in the order of the images sent.

A number that is not finite is written as the string "NaN", "Infinity" or "-Infinity".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})]
State = Literal["exploding", "vanishing", "dead", "imbalanced", "undetermined", "healthy"]


class Answer(BaseModel):
    """Immutable; not-finite numbers leave as strings."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class AnsweredBy(Answer):
    """What answered: the same five fields open every answer."""

    model: str
    version: str
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    execution_provider: str
    request_id: str


# ---------------------------------------------------------------- verdicts


class Finding(Answer):
    """One rule that fired: what was measured, against what, and where."""

    finding: State
    rule: str = Field(description="which rule decided, in words")
    value: Number
    threshold: Number
    layers: list[str] = Field(description="names of the layers concerned, in forward order")
    source: str = Field(description="where rule and threshold come from")


class DebuggerRule(Answer):
    """What a rule of Amazon SageMaker Debugger says about the same numbers, at its documented default."""

    rule: str
    fires: bool
    value: Number
    threshold: Number
    layers: list[str]


class Verdict(Answer):
    """The worst finding, why, and every finding; `thresholds` are those that were applied."""

    state: State
    because: str
    findings: list[Finding] = []
    debugger: list[DebuggerRule] = []
    thresholds: dict[str, float] = {}


# ---------------------------------------------------------------- /diagnostics/gradients


class SampleLoss(Answer):
    """One image: the class the loss was taken for, and what the network thinks of it."""

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


class NoiseScale(Answer):
    """Noise scale S / |G|² in images (McCandlish et al. 2018, appendix A.1), with a 95 % jackknife interval."""

    state: Literal["determined", "undetermined"]
    images: int
    gradient_square: Number = Field(description="|G|², unbiased; may be negative, then undetermined")
    variance: Number = Field(description="S, the trace of the per-sample covariance, unbiased")
    noise_scale: Number | None
    low: Number | None
    high: Number | None


class LayerActivations(Answer):
    """Statistics of a layer's own output, one per sample; `zero_share` is of the rectifier that follows."""

    mean: list[Number]
    variance: list[Number]
    zero_share: list[Number]


class LayerBaseline(Answer):
    """A layer against the bundle's training images; `low`, `median`, `high` bound `relative_gradient_norm`."""

    low: Number
    median: Number
    high: Number
    outside_share: Number = Field(description="share of the samples below `low` or above `high`")


class LayerGradients(Answer):
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


class OtherParameterGradients(Answer):
    """A trained tensor that is no layer."""

    name: str
    operator: str
    parameters: int
    gradient_norm: list[Number]


class UnlikeItself(Answer):
    """Layers whose norms lie outside what the bundle saw on its training images."""

    unlike: bool
    because: str
    images: int = Field(description="training images behind the quantiles")
    low_quantile: float
    high_quantile: float
    layers: list[str]


class InputGradient(Answer):
    """dL/dinput of one image: its L2 norm, and its absolute value as a grey PNG in a data URL."""

    norm: Number
    picture: str


class Gradients(AnsweredBy):
    """`POST /diagnostics/gradients`."""

    samples: list[SampleLoss]
    layers: list[LayerGradients]
    other_parameters: list[OtherParameterGradients]
    noise_scale: NoiseScale | None = Field(default=None, description="of all layers together")
    input_gradients: list[InputGradient] | None = None
    unlike_itself: UnlikeItself | None = None
    verdict: Verdict
    notes: list[str] = []


# ---------------------------------------------------------------- /diagnostics/compare


class ComparedModel(AnsweredBy):
    """The gradients answer of one of the models."""

    samples: list[SampleLoss]
    layers: list[LayerGradients]
    verdict: Verdict


class LayerDifference(Answer):
    """One layer of `other` against the one that corresponds to it in `model`."""

    model: str = Field(description="name@version of the first model")
    other: str
    layer: str = Field(description="layer of `model`")
    other_layer: str = Field(description="layer of `other`: the same name and shape, else the nearest relative depth")
    matched_by: Literal["name", "depth"]
    decades: Number = Field(description="median over samples of log10(other / model) of relative_gradient_norm")
    moved: bool


class Comparison(Answer):
    """`POST /diagnostics/compare`; differences are of every later model against the first."""

    request_id: str
    models: list[ComparedModel]
    differences: list[LayerDifference]
    predictions_differ: list[int] = Field(description="samples on which not all models predict the same label")
    because: str = Field(description="the comparison in one sentence")


# ---------------------------------------------------------------- /diagnostics/shattering


class Autocorrelation(Answer):
    """Of the input gradient along the path, by lag in points; `white` and `brown` by the same estimator."""

    lags: list[int]
    mean: list[Number]
    white: list[Number]
    brown: list[Number]


class ShatteringVerdict(Answer):
    """`state` from the spectral exponent: near white noise (0) or near Brownian motion (2)."""

    state: Literal["shattered", "rough", "smooth", "undetermined"]
    because: str
    value: Number
    threshold: Number
    rule: str
    source: str


class Shattering(AnsweredBy):
    """`POST /diagnostics/shattering`."""

    label: str
    index: int
    points: int
    correlation: list[list[Number]] = Field(description="[points, points] cosine between the gradients")
    autocorrelation: Autocorrelation
    spectral_exponent: Number
    gradient_norm: list[Number] = Field(description="‖dL/dinput‖ at each point")
    probability: list[Number] = Field(description="of the label, at each point")
    verdict: ShatteringVerdict


# ---------------------------------------------------------------- /diagnostics/scores


class SampleScores(Answer):
    """How foreign, and how hard or mislabelled, one image looks.

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
    notes: list[str] = []


# ---------------------------------------------------------------- /diagnostics/features


class Channel(Answer):
    """One channel of a layer for one image: its largest value and the map as a grey PNG in a data URL."""

    channel: int
    peak: Number
    picture: str


class LayerFeatures(Answer):
    """What one layer makes of one image."""

    name: str
    depth: int
    height: int
    width: int
    mean: Number
    variance: Number
    zero_share: Number
    separability: Number | None = Field(
        default=None,
        description="from the bundle's record: share of labelled images nearest to their own class's mean here",
    )
    channels: list[Channel] = Field(description="the strongest, by mean over positions, first")


class SeparabilityByDepth(Answer):
    """What the bundle's record says of all layers, whichever image is asked about."""

    because: str = Field(description="the finding in one sentence")
    fitted: int = Field(description="images that the class means are of")
    judged: int = Field(description="other images, which the shares are of")
    chance: float = Field(description="the share without any separation")
    nearest_mean: dict[str, Number] = Field(description="layer → share, in forward order")


class SampleFeatures(Answer):
    """One image: layers in forward order, and the input gradient as a saliency picture."""

    predicted_label: str
    predicted_index: int
    layers: list[LayerFeatures]
    saliency: InputGradient | None


class Features(AnsweredBy):
    """`POST /diagnostics/features`."""

    samples: list[SampleFeatures]
    separability: SeparabilityByDepth | None = None
