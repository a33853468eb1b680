"""The definition of a bundle: the directory that is exported, shipped and served.

    <bundles>/<name>/bundle.json              or, with versions, <bundles>/<name>/<version>/bundle.json
                     weights.bin              every stored weight, once; all graphs refer to it
                     forward.onnx …           one graph per set of outputs (`GraphName`): always the forward
                                              graph, and those of the others that can run
                     reference.npz            statistics that scores need, if they could be fitted

The first axis of every input and output is the free axis N (samples), except for outputs that belong to the batch as
a whole; all other axes are static. The graphs take:

    input            float32 [N, channels, height, width]   preprocessed ([N, h, w, c] for layout nhwc)
    label            int64   [N]      class of the loss; -1 takes the predicted class
                     int64   [N, K]   where labels are independent: 1 applies, 0 does not, -1 as predicted
    cotangent_scale  float32 [N]      factor of dL/dlogits, a power of two; every square comes out
                                      multiplied by its square, every gradient by the factor itself
    layer            int64   [1]      graph `explanation` only, one for the whole batch: an index into `Bundle.layers`,
                                      or -1 for the image

The graph `explanation` is of a class's logit and not of the loss. Its `label` is int64 [N] for both kinds of labels:
the class whose logit is explained, -1 for the one with the largest.

Their outputs are in `outputs.py`. `export` writes bundles by this schema and the service reads them by it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

BUNDLE_FILE: Final = "bundle.json"
WEIGHTS_FILE: Final = "weights.bin"

GraphName = Literal[
    "forward",
    "activation_norms",
    "weight_norms",
    "batch_norms",
    "input_gradient",
    "activations",
    "feature_maps",
    "explanation",
    "loss_slopes",
]
"""A set of outputs, which `outputs.py` lists. Only the norms, the input gradient, the explanation and the slopes take
`label` and `cotangent_scale` beside `input`, and only the explanation takes `layer`.

`loss_slopes` is run with other weights in place of the stored ones (`Graph.parameters`)."""

NOT_SERVED: Final[GraphName] = "loss_slopes"
"""The graph that no request can ask for: it is opened anew for every pair of weights."""

LabelKindName = Literal["exclusive", "independent"]
"""Exclusive: an image has one class, by softmax and cross-entropy. Independent: it has any number of the labels, each
by its own sigmoid and binary cross-entropy, which are summed."""

THE_IMAGE: Final = -1
"""`layer` of a run of `explanation` that goes all the way, to the image itself."""

NOT_FINITE_NOTE: Final = "numbers that are NaN or infinite are stored in"
"""The note on weights that hold such numbers begins so; their names follow."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Schema(BaseModel):
    """Immutable, and strict about unknown fields: a misspelt field is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(Schema):
    """The steps from a decoded RGB image to the tensor `input`.

    First the picture is resized:

        resize None                         straight to height × width
        resize (h, w)                       straight to h × w
        resize (h, w), resize_side shorter  the ratio is kept, and the picture covers h × w
        resize (h, w), resize_side longer   the ratio is kept, and the picture fits into h × w (a letterbox)
        resize s                            as (s, s), resize_side shorter unless it says longer

    Where the ratio is kept, `resize_rounding` makes whole numbers of the sides: "down" rounds down (torchvision,
    transformers), "even" rounds to the nearest, a half to the even number (timm's `ResizeKeepRatio`).

    The pixels are Pillow's with its filter `interpolation`, which averages an area where it shrinks. `antialias` False
    samples the picture at points instead, as OpenCV, TensorFlow and torch's `interpolate` do; "nearest" always does.

    Then height × width is cut out of the middle, and what lies outside the picture gets the colour `fill`. Where an odd
    number of pixels is cut off, `crop_rounding` says where the crop begins: "even" rounds the half to the even number
    (torchvision, timm), "down" rounds it down (transformers). Where an odd number of pixels is missing,
    `padding_rounding` says how many are put above and left: half of them, rounded "down" (torchvision, timm,
    transformers on tensors) or "up" (transformers on arrays).

    Last, per channel and with pixels in 0…255: value = ((pixel / 255) - mean) / std · scale. `mean`, `std` and `fill`
    are for RGB, whatever `channel_order` is; a grey picture's fill is the grey that Pillow makes of the colour.
    """

    height: PositiveInt = Field(description="rows of the network's input, in pixels")
    width: PositiveInt = Field(description="columns of the network's input, in pixels")
    channels: Literal[1, 3] = Field(default=3, description="1: grey, 3: colours")
    channel_order: Literal["rgb", "bgr"] = Field(default="rgb", description="order of the colours in the input")
    layout: Literal["nchw", "nhwc"] = Field(default="nchw", description="order of the input's axes")
    resize: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, description="side, or height and width, in pixels, before the crop; null: height × width"
    )
    resize_side: Literal["shorter", "longer"] | None = Field(
        default=None, description="which side of the picture gets the size, where its ratio is kept"
    )
    resize_rounding: Literal["down", "even"] = Field(default="down", description="how the other side is rounded")
    crop_rounding: Literal["even", "down"] = Field(default="even", description="how half an odd margin is rounded")
    padding_rounding: Literal["down", "up"] = Field(
        default="down", description="how half of an odd number of missing pixels is rounded, above and left"
    )
    fill: tuple[Byte, Byte, Byte] = Field(default=(0, 0, 0), description="RGB, 0 to 255, outside the picture")
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = Field(
        default="bilinear", description="filter of the resizing"
    )
    antialias: bool = Field(default=True, description="areas are averaged where a picture shrinks")
    mean: tuple[Finite, ...] = Field(description="one per channel: subtracted from pixels of 0 to 1")
    std: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        description="one per channel: divides what is left"
    )
    scale: Finite = Field(default=1.0, description="multiplies the quotient")
    apply_exif_orientation: bool = Field(default=True, description="a picture is turned as its EXIF data say")
    reduced_jpeg_decoding: bool = Field(
        default=False, description="a large JPEG is decoded at a fraction of its size, which is faster"
    )

    @model_validator(mode="after")
    def _points_have_a_meaning(self) -> Self:
        if not self.antialias and self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f"{self.interpolation} averages areas, so it cannot be had with antialias false")
        return self

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one sample of the tensor `input`, in its layout."""
        if self.layout == "nchw":
            return (self.channels, self.height, self.width)
        return (self.height, self.width, self.channels)


class Architecture(Schema):
    """Kind of network; `depth` counts the weighted layers."""

    family: Literal["residual", "plain", "imported"] = Field(description="residual: with shortcuts; plain: without")
    depth: PositiveInt = Field(description="weighted layers on the longest path through the network")
    activation: str | None = Field(default=None, description="its nonlinearity, e.g. relu; null if it is not known")
    normalization: str | None = Field(default=None, description="e.g. batch; null if there is none or it is not known")


class Layer(Schema):
    """One weight of two or more axes of a Conv, a ConvTranspose, a Gemm, or a MatMul with a constant operand."""

    name: str = Field(description="the weight's name without `.weight`")
    operator: str = Field(description="ONNX operator: Conv, ConvTranspose, Gemm or MatMul")
    depth: PositiveInt = Field(description="weighted layers on the longest path from the input, itself included")
    shape: tuple[int, ...] = Field(description="of the weight")
    output_shape: tuple[int, ...] = Field(description="of the layer's own output, without the batch axis")
    parameters: PositiveInt = Field(description="numbers in the weight")
    uses: PositiveInt = Field(default=1, description="places of the network that share the weight")
    bias: bool = Field(description="it has a bias")
    weight_norm: Finite | None = Field(
        description="‖W‖₂ of the original, unfolded weight; null where the weight has a NaN or an infinite number"
    )
    rectifier: str | None = Field(default=None, description="operator of the rectifier that follows, if one does")
    channels: int = Field(default=0, ge=0, description="columns in channel_peak; 0 without a rectifier")
    map_size: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None,
        description="height and width of its map of the image, which can be explained; null where it has none",
    )


class OtherParameter(Schema):
    """A trained tensor that is not a layer: scale or shift of a normalization, embedding, free parameter."""

    name: str = Field(description="the tensor's name")
    operator: str = Field(description="ONNX operator that reads it")
    parameters: PositiveInt = Field(description="numbers in it")


class GraphParameter(Schema):
    """A trained tensor of a graph, float32, whose numbers may be replaced by others when the graph is run."""

    name: str = Field(description="the tensor's name in the graph")
    difference: str = Field(description="name of the tensor that holds its difference between two versions")
    offset: int = Field(ge=0, description="where its numbers begin in weights.bin, in bytes")
    shape: tuple[int, ...] = Field(description="of the tensor")
    part: str = Field(
        description="name of the layer or of the other parameter that it belongs to; empty if it belongs to none"
    )


class Graph(Schema):
    """One ONNX file of the bundle, with its inputs and outputs in order."""

    file: str = Field(description="name of the ONNX file, beside bundle.json")
    inputs: tuple[str, ...] = Field(description="names of its inputs, in order")
    outputs: tuple[str, ...] = Field(description="names of its outputs, in order")
    structure: str | None = Field(
        default=None,
        description="sha256 of everything but the parameters' numbers: graphs of one architecture have the same",
    )
    parameters: tuple[GraphParameter, ...] = Field(default=(), description="in the order of the architecture")


class ParityCheck(Schema):
    """Measured difference to a reference, and the bound that it had to stay below."""

    quantity: str = Field(description="what was compared")
    reference: str = Field(description="what it was compared with")
    precision: Literal["float32", "float64"] = Field(description="numbers in which the graph ran")
    batch: PositiveInt = Field(description="images per run")
    difference: Finite = Field(description="the largest found: absolute of logits, relative of gradients")
    bound: Finite = Field(description="what it had to stay below")


class EpochRecord(Schema):
    """One epoch of training; `train_*` were measured during training, on augmented images."""

    epoch: PositiveInt = Field(description="from 1")
    learning_rate: float = Field(description="at its end")
    image_size: PositiveInt = Field(description="height and width of the images, in pixels")
    train_loss: float | None = Field(description="mean cross-entropy in nats; null where it is not finite")
    train_error: float = Field(description="share of images classified wrongly, 0 to 1")
    test_loss: float | None = Field(description="mean cross-entropy in nats; null where it is not finite")
    test_error: float = Field(description="share of images classified wrongly, 0 to 1")
    gradient_norms: dict[str, float | None] = Field(description="‖dL/dW‖₂ of the mean loss by layer, inference mode")


class FinalRecord(Schema):
    """Loss and error of the finished network on both splits, without augmentation."""

    train_loss: float | None = Field(description="mean cross-entropy in nats; null where it is not finite")
    train_error: float = Field(description="share of images classified wrongly, 0 to 1")
    test_loss: float | None = Field(description="mean cross-entropy in nats; null where it is not finite")
    test_error: float = Field(description="share of images classified wrongly, 0 to 1")


class TrainingRecord(Schema):
    """The training of the weights."""

    data_set: str = Field(description="the images")
    recipe: dict[str, Any] = Field(description="optimizer, schedule and augmentation: name → value")
    seed: int = Field(description="of the random numbers")
    epochs: tuple[EpochRecord, ...] = Field(description="one per epoch, in their order")
    final: FinalRecord = Field(description="the finished network")


class Baseline(Schema):
    """Quantiles of each layer's norms on training images with their own labels, divided by ‖dL/dlogits‖."""

    images: PositiveInt = Field(description="images that were measured")
    quantiles: tuple[float, ...] = Field(description="the probabilities, e.g. 0.01, 0.5, 0.99")
    scaled_gradient_norm: dict[str, tuple[float, ...]] = Field(description="layer → values at `quantiles`")
    activation_gradient_norm: dict[str, tuple[float, ...]] = Field(description="layer → values at `quantiles`")
    dead_fraction: dict[str, float] = Field(description="layer → fraction of channels that are zero on all the images")


class Quantization(Schema):
    """A file of 8-bit integers: the forward graph is the file's own, and all other graphs are of the float network.

    That network is the file's without rounding, and gradients pass straight through rounding. Where only weights are
    integers, the forward graph is of the float network too. Differences are between the probabilities that the file
    and the float network give test pictures.
    """

    rounded: Literal["weights", "activations"] = Field(description="activations: weights too, in most files")
    probability_difference: Finite = Field(description="the largest")
    other_class: int = Field(ge=0, description="pictures for which the two predict other labels")
    images: PositiveInt = Field(description="pictures on which it was measured")

    @property
    def has_two_networks(self) -> bool:
        """True where the forward graph computes otherwise than all others."""
        return self.rounded == "activations"

    @property
    def of_forward(self) -> str:
        """The sentence in every answer of the forward graph."""
        if not self.has_two_networks:
            return self.of_network
        return (
            "computed by the file's own int8 graph; gradients and diagnostics are of the float network that it stands "
            f"for, {self._measured}"
        )

    @property
    def of_network(self) -> str:
        """The sentence in every answer of any other graph."""
        if not self.has_two_networks:
            return (
                "the file stores its weights as integers and computes with floats: so does this model, for predictions "
                f"and gradients alike; the file is one {self._measured}"
            )
        return (
            "computed by the float network that the int8 file stands for, with rounding passed straight through; "
            f"/predict runs the file's own graph, {self._measured}"
        )

    @property
    def _measured(self) -> str:
        return (
            f"whose probabilities differ by up to {self.probability_difference:.2g} on {self.images} test pictures "
            f"({self.other_class} of them classified otherwise)"
        )


class Separability(Schema):
    """Share of labelled images whose output of a layer is nearest to the mean of their own class, by layer."""

    fitted: PositiveInt = Field(description="images from which the class means are computed")
    judged: PositiveInt = Field(description="other images, for which the shares are measured")
    chance: Finite = Field(description="the share without any separation")
    nearest_mean: dict[str, Finite] = Field(description="layer → share; maps averaged over a 2 × 2 grid")


class Bundle(Schema):
    """Content of `bundle.json`."""

    schema_version: Literal[1] = Field(default=1, description="version of this format")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="name of the model")
    version: str = Field(default="1", pattern=r"^[0-9]{1,9}$", description="version of the model: digits")
    labels: tuple[str, ...] = Field(min_length=2, description="the classes, in the order of the logits")
    label_kind: LabelKindName = Field(
        default="exclusive",
        description="exclusive: an image has one class (softmax); independent: it has any number (a sigmoid each)",
    )
    input: InputSpec = Field(description="the way of an image to the tensor `input`")
    architecture: Architecture = Field(description="kind and depth of the network")
    layers: tuple[Layer, ...] = Field(description="one per weighted layer, in forward order: the axis L of the graphs")
    other_parameters: tuple[OtherParameter, ...] = Field(
        default=(), description="trained tensors that are no layer: the axis P of the graphs"
    )
    features: PositiveInt | None = Field(
        default=None, description="numbers that the last linear layer reads: the axis D; null where there is none"
    )
    graphs: dict[GraphName, Graph] = Field(description="the graphs that can run, by name; `forward` is always there")
    opset: PositiveInt = Field(description="ONNX opset of the graphs")
    producer: str = Field(description="what wrote the bundle")
    training: TrainingRecord | None = Field(default=None, description="the training; null of an imported model")
    baseline: Baseline | None = Field(
        default=None, description="the usual range of the norms; null before `contraflow record`"
    )
    separability: Separability | None = Field(
        default=None, description="how well layers tell the classes apart; null before `contraflow record`"
    )
    quantized: Quantization | None = Field(
        default=None, description="what was measured of an int8 file; null for a file of floats"
    )
    parity: tuple[ParityCheck, ...] = Field(default=(), description="the graphs compared with a reference")
    provenance: dict[str, str] = Field(default={}, description="what an import settled → the value, and its source")
    notes: tuple[str, ...] = Field(default=(), description="what a reader of the norms must know")
    sha256: dict[str, str] = Field(description="file name → digest, for every other file of the bundle")

    @classmethod
    def parsed(cls, content: str | bytes) -> Bundle:
        """Read the content of a `bundle.json`.

        Raises:
            ValueError: it is not what a bundle of this version says; the message names the first fault, in one line.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ValueError(f"{BUNDLE_FILE} is not valid: {where}: {first['msg']}") from None
