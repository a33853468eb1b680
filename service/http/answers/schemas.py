"""Schemas of answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.contract.bundle_schema import (
    Architecture,
    Baseline,
    InputSpec,
    LabelKindName,
    Layer,
    OtherParameter,
    ParityCheck,
    Quantization,
    Separability,
    TrainingRecord,
)

Number = float | Literal["NaN", "Infinity", "-Infinity"]

REQUEST_ID = "of this request: the caller's X-Request-Id, or one of our own"


class ModelAnswer(BaseModel):
    """Members that every answer of a model begins with."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="name of the model that answered")
    version: str = Field(description="its version: digits")
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    execution_provider: str = Field(description="where it ran: CUDAExecutionProvider or CPUExecutionProvider")
    quantized: str | SkipJsonSchema[None] = Field(
        default=None,
        description="for an int8 model alone: which network answered, and how far the other one is from it",
    )
    request_id: str = Field(description=REQUEST_ID)


class LabelledImage(BaseModel):
    """An image of a JSON body."""

    data: str = Field(
        description="the image file in base64, or as a data URL", json_schema_extra={"contentEncoding": "base64"}
    )
    label: str | int | list[str | int] | SkipJsonSchema[None] = Field(
        default=None,
        description="index or name of the class; where labels are independent, a list of those that apply, or one; "
        "default: what `label` or `labels` says, else as predicted",
    )


class RankedLabel(BaseModel):
    """One label of the model and how probable it is for one image."""

    label: str = Field(description="name of the label")
    index: int = Field(description="its index among the model's labels, from 0")
    probability: Number = Field(description="0 to 1: by softmax, or by its own sigmoid where labels are independent")


class Prediction(BaseModel):
    """The labels of one image."""

    labels: list[RankedLabel] = Field(description="the `top_k` most probable labels, best first")
    predicted: list[str] | SkipJsonSchema[None] = Field(
        default=None,
        description="where labels are independent: all whose probability is above one half, the most probable first",
    )


class Predictions(ModelAnswer):
    """`POST /predict`."""

    predictions: list[Prediction] = Field(description="one per image, in the order sent")


class Problem(BaseModel):
    """RFC 9457, with the request's id."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="which kind of error, for programs: urn:contraflow:problem:…")
    title: str = Field(description="the kind in words")
    status: int = Field(description="HTTP status, the same as the answer's")
    detail: str = Field(description="what is wrong with this very request, and what to do, in a sentence")
    request_id: str = Field(description=REQUEST_ID)
    retry_after_ms: int | None = Field(default=None, description="milliseconds after which to try again (429, 503)")


class GraphStatus(BaseModel):
    """One graph of a model: a set of outputs that runs on its own."""

    state: Literal["unloaded", "loading", "ready", "failed"] = Field(
        description="unloaded: loads on its first use; failed: see `reason`"
    )
    reason: str | None = Field(default=None, description="why it failed to load; otherwise null or absent")
    best_batch: int | None = Field(
        default=None, description="images per run, as measured at warm-up; absent unless ready"
    )
    milliseconds_per_image: float | None = Field(
        default=None, description="of a run, measured so far; absent unless ready"
    )


class ModelSummary(BaseModel):
    """One version of a model that is served."""

    name: str = Field(description="name of the model")
    version: str = Field(description="its version: digits")
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    execution_provider: str = Field(description="where it runs: CUDAExecutionProvider or CPUExecutionProvider")
    ready: bool = Field(description="it predicts; the graphs for diagnostics have their own states")
    default: bool = Field(description="it answers requests that name no model")
    family: str = Field(description="residual, plain or imported")
    depth: int = Field(description="weighted layers on the longest path through the network")
    graphs: dict[str, GraphStatus] = Field(description="name of a graph → its state")


class Limits(BaseModel):
    """Limits of one request, so that a client can shrink a photograph before it sends it."""

    body_bytes: int = Field(description="bytes of a request's body")
    image_pixels: int = Field(description="width × height of one image; of a WEBP or AVIF at most 16,000,000")


class ModelList(BaseModel):
    """`GET /models`."""

    default: str | None = Field(description="the model of requests that name none, as name or name@version")
    default_missing: str | None = Field(description="why the default model that is set is not served; null if it is")
    shadow: str | None = Field(
        description="name@version of the second version of the settings, which answers only who names it; null if none"
    )
    execution_provider: str = Field(description="where models run: CUDAExecutionProvider or CPUExecutionProvider")
    execution_provider_reason: str = Field(description="why there, in a sentence")
    limits: Limits = Field(description="what one request may have at most")
    models: list[ModelSummary] = Field(description="every version of every model that is served, by name")
    refused: dict[str, str] = Field(description="folder of a bundle that is not served → why")
    unavailable: dict[str, str] = Field(
        description="folder that cannot be read or loaded at the moment → why; what was served from it is served on"
    )


class ModelDescription(ModelSummary):
    """`GET /models/{name}`."""

    versions: list[str] = Field(description="versions of the model that are served, the lowest first")
    labels: list[str] = Field(description="names of the labels, in the order of the logits")
    label_kind: LabelKindName = Field(description="exclusive: one class an image; independent: any number of labels")
    input: InputSpec = Field(description="how an image becomes the network's input")
    architecture: Architecture = Field(description="kind of network")
    layers: list[Layer] = Field(description="weighted layers, in forward order")
    other_parameters: list[OtherParameter] = Field(description="trained tensors that are no layer")
    training: TrainingRecord | None = Field(description="how the weights were trained; null of an imported model")
    baseline: Baseline | None = Field(description="gradient norms on training images; null where none were recorded")
    separability: Separability | None = Field(
        description="how well each layer tells the classes apart; null where it was not recorded"
    )
    quantized: Quantization | None = Field(
        description="for an int8 model, which predicts by the file's own graph while its gradients are those of the "
        "float network that it stands for: the measured difference between the two"
    )
    parity: list[ParityCheck] = Field(description="how far its graphs are from their reference, as measured at export")
    opset: int = Field(description="version of ONNX's operator set in its graphs")
    producer: str = Field(description="what wrote the bundle")
    provenance: dict[str, str] = Field(description="of an imported model: value settled → what it is, and who says so")
    notes: list[str] = Field(description="what a reader of its norms must know, in sentences")


class Liveness(BaseModel):
    """`GET /health/live`."""

    live: Literal[True] = Field(default=True, description="always true; a service that is not alive answers 503")


class Readiness(BaseModel):
    """If API keys are required, callers without one get `ready` alone."""

    ready: Literal[True] = Field(default=True, description="always true; a service that is not ready answers 503")
    execution_provider: str = Field(
        default="", description="where models run: CUDAExecutionProvider or CPUExecutionProvider"
    )
    models: dict[str, dict[str, str]] = Field(default={}, description="name@version → graph → state")


class Glossary(BaseModel):
    """`GET /docs/glossary`."""

    terms: dict[str, str] = Field(description="term → its meaning, in one to three sentences")


class ProtocolError(BaseModel):
    """The error shape of the Open Inference Protocol."""

    error: str = Field(description="what is wrong with this very request, and what to do, in a sentence")
