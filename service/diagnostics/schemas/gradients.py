"""Schemas of `POST /diagnostics/gradients` and `POST /diagnostics/compare`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Explained, Number
from service.diagnostics.schemas.verdict import State, Verdict
from service.diagnostics.schemas.versions import FlipsFound


class SampleLoss(DiagnosticSchema):
    """One image: the class of its loss, and how the network classifies it."""

    label: str = Field(description="name of the class whose loss was differentiated")
    index: int = Field(description="its index among the model's labels, from 0")
    loss: Number = Field(description="cross-entropy in nats, float64 from the logits")
    probability: Number = Field(description="of that class, 0 to 1")
    predicted_label: str = Field(description="name of the most probable class")
    predicted_index: int = Field(description="its index among the model's labels, from 0")
    logit_gradient_norm: Number = Field(description="‖dL/dlogits‖₂; verdicts divide by it")
    saturated: bool = Field(
        description="true: dL/dlogits is 0 in float32, and so is every gradient; the verdict is then on the loss of "
        "the runner-up class"
    )


class SampleLabelsLoss(DiagnosticSchema):
    """One image of a model of independent labels: the labels of its loss, and those that the network predicts."""

    labels: list[str] = Field(description="that apply in this loss; the others do not")
    indices: list[int] = Field(description="their indices among the model's labels, from 0")
    loss: Number = Field(description="binary cross-entropy in nats, summed over all labels, float64 from the logits")
    probabilities: list[Number] = Field(description="of those labels, each its own, 0 to 1")
    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int] = Field(description="their indices among the model's labels, from 0")
    logit_gradient_norm: Number = Field(description="‖dL/dlogits‖₂; verdicts divide by it")
    saturated: bool = Field(
        description="true: dL/dlogits is 0 in float32, and so is every gradient; the verdict is then on the loss with "
        "one label turned over"
    )


SampleLosses = list[SampleLoss] | list[SampleLabelsLoss]
"""One entry per image; of which kind, the model's `label_kind` says."""


class NoiseScale(DiagnosticSchema):
    """Noise scale S / |G|² in images (McCandlish et al. 2018, appendix A.1), with a 95 % jackknife interval."""

    state: Literal["determined", "undetermined"] = Field(
        description="undetermined: too few images, or too noisy ones, for an interval"
    )
    images: int = Field(description="images from which it is estimated")
    gradient_square: Number = Field(description="|G|², unbiased; may be negative, then undetermined")
    variance: Number = Field(description="S, the trace of the per-sample covariance, unbiased; in units of |G|²")
    noise_scale: Number | None = Field(description="S / |G|², in images: the batch size beyond which more hardly helps")
    low: Number | None = Field(description="lower end of the 95 % interval, in images")
    high: Number | None = Field(description="upper end of the 95 % interval, in images")


class LayerActivations(DiagnosticSchema):
    """Statistics of a layer's own output, one per sample; `zero_share` is of the rectifier that follows."""

    mean: list[Number] = Field(description="one per image: mean over the output, in units of the activation")
    variance: list[Number] = Field(description="one per image: variance, in units of the activation squared")
    zero_share: list[Number] = Field(
        description="one per image: share, 0 to 1, of exact zeros behind the rectifier; 0 where no rectifier follows"
    )


class LayerBaseline(DiagnosticSchema):
    """A layer compared with the bundle's training images; `low`, `median`, `high` are of `relative_gradient_norm`."""

    low: Number = Field(description="lowest recorded quantile, without unit")
    median: Number = Field(description="recorded median, without unit")
    high: Number = Field(description="highest recorded quantile, without unit")
    outside_share: Number = Field(description="share, 0 to 1, of the images below `low` or above `high`")


class LayerGradients(DiagnosticSchema):
    """One weighted layer, and its norms per sample (L2, of the summed per-sample losses)."""

    name: str = Field(description="the weight's name without `.weight`")
    operator: str = Field(description="its ONNX operator: Conv, ConvTranspose, Gemm or MatMul")
    depth: int = Field(description="weighted layers on the longest path from the input, this one included")
    shape: list[int] = Field(description="of the weight, e.g. [out, in, height, width]")
    parameters: int = Field(description="numbers in the weight")
    uses: int = Field(description="places of the network that share this weight")
    weight_norm: Number = Field(description="‖W‖₂")
    activation_gradient_norm: list[Number] = Field(
        description="one per image: ‖dL/dy‖₂ of the layer's output y, in nats per unit of y"
    )
    weight_gradient_norm: list[Number] = Field(
        description="one per image: ‖dL/dW‖₂ of the weight W, in nats per unit of W"
    )
    scaled_gradient_norm: list[Number] = Field(
        description="one per image: √Σ_c (‖W_c‖·‖dL/dW_c‖)² over the output channels c, in nats; it stays the same "
        "when the network is rescaled without changing what it computes"
    )
    bias_gradient_norm: list[Number] | None = Field(
        description="one per image: ‖dL/db‖₂ of the bias b, in nats per unit of b; null without a bias"
    )
    gradient_to_weight_ratio: list[Number] = Field(
        description="one per image: weight_gradient_norm / weight_norm; what one step at learning rate 1 would change"
    )
    relative_gradient_norm: list[Number] = Field(
        description="one per image: scaled_gradient_norm / ‖dL/dlogits‖, without unit: what vanishing, exploding and "
        "imbalanced are decided on; where the image is saturated, that of the runner-up label"
    )
    batch_gradient_norm: Number | None = Field(
        default=None, description="‖dL/dW‖₂ of the mean loss over all images; null without include=batch_gradient"
    )
    dead_fraction: Number | None = Field(
        default=None,
        description="share, 0 to 1, of the channels that are 0 at every position of every image; null where the "
        "activations were not measured, or no rectifier follows",
    )
    noise_scale: NoiseScale | None = Field(
        default=None,
        description="of this layer's gradient; null without include=batch_gradient and a label for every image",
    )
    activations: LayerActivations | None = Field(
        default=None, description="of the layer's output; null without include=activations or enough images"
    )
    baseline: LayerBaseline | None = Field(
        default=None, description="the range on training images; null if the bundle has no record of it"
    )
    verdict: State = Field(description="worst finding that names this layer, or healthy")


class OtherParameterGradients(DiagnosticSchema):
    """A trained tensor that is no layer."""

    name: str = Field(description="the tensor's name")
    operator: str = Field(description="ONNX operator that reads it")
    parameters: int = Field(description="numbers in it")
    gradient_norm: list[Number] = Field(description="one per image: ‖dL/dp‖₂ of the tensor p, in nats per unit of p")


class UnlikeItself(Explained):
    """Layers whose norms are outside the range that the bundle recorded on its training images."""

    unlike: bool = Field(description="whether more than a quarter of the layers are")
    images: int = Field(description="training images behind the quantiles")
    low_quantile: float = Field(description="probability of the lower end of the range, 0 to 1")
    high_quantile: float = Field(description="probability of its upper end, 0 to 1")
    layers: list[str] = Field(description="names of the layers outside on most images, in forward order")


class InputGradient(DiagnosticSchema):
    """dL/dinput of one image: its L2 norm, and its absolute value as a grey PNG in a data URL."""

    norm: Number = Field(description="‖dL/dx‖₂ of the preprocessed image x, in nats per unit of x")
    picture: str = Field(
        description="data URL of a grey PNG of the input's height × width: the largest |dL/dx| of the channels, white "
        "from its 99th percentile"
    )


class Gradients(AnsweredBy):
    """`POST /diagnostics/gradients`."""

    samples: SampleLosses = Field(description="one per image, in the order sent")
    layers: list[LayerGradients] = Field(description="one per weighted layer, in forward order")
    other_parameters: list[OtherParameterGradients] = Field(description="trained tensors that are no layer")
    noise_scale: NoiseScale | None = Field(
        default=None, description="of all layers together; null without include=batch_gradient and labels"
    )
    input_gradients: list[InputGradient] | None = Field(
        default=None, description="one per image; null without include=input_gradient"
    )
    unlike_itself: UnlikeItself | None = Field(
        default=None, description="the model beside its record on training images; null if the bundle has none"
    )
    verdict: Verdict = Field(description="on the whole model")
    notes: list[str] = Field(default=[], description="what a reader of these numbers must know, in sentences")


class ComparedModel(AnsweredBy):
    """The gradients of one of the models that are compared."""

    samples: SampleLosses = Field(description="one per image, in the order sent")
    layers: list[LayerGradients] = Field(description="one per weighted layer, in forward order")
    verdict: Verdict = Field(description="on the whole model")


class LayerDifference(DiagnosticSchema):
    """One layer of `other`, compared with the layer of `model` that it corresponds to."""

    model: str = Field(description="name@version of the first model")
    other: str = Field(description="name@version of the model compared with it")
    layer: str = Field(description="layer of `model`")
    other_layer: str = Field(
        description="layer of `other`: the same name and shape, else the same place among the layers of its depth and "
        "shape where both networks have the same, else the nearest relative depth"
    )
    matched_by: Literal["name", "place", "depth"] = Field(description="how the two layers were found to correspond")
    decades: Number = Field(
        description="median over the images of log10(other / model) of relative_gradient_norm: +1 is ten times as large"
    )
    moved: bool = Field(description="true from 0.3 decades, about a factor of two, in either direction")


class Comparison(DiagnosticSchema):
    """`POST /diagnostics/compare`; every later model is compared with the first."""

    request_id: str = Field(description="of this request: the caller's X-Request-Id, or one of our own")
    models: list[ComparedModel] = Field(description="one per model, in the order named")
    differences: list[LayerDifference] = Field(description="one per layer of the first model and later model")
    predictions_differ: list[int] = Field(
        description="positions, from 0, of the images for which not all models predict the same label"
    )
    flips: list[FlipsFound | None] = Field(
        description="one per later model: right and wrong answers of both, on the images with a label; null where no "
        "image has one, and for independent labels"
    )
    because: str = Field(description="the comparison in one sentence")
