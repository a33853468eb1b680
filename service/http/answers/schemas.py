"""Schemas of answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.contract.bundle_schema import LabelKindName

Number = float | Literal["NaN", "Infinity", "-Infinity"]


class ModelAnswer(BaseModel):
    """Members that every answer of a model begins with."""

    model_config = ConfigDict(extra="forbid")

    model: str
    version: str
    bundle: str = Field(description="digest of the bundle that answered")
    execution_provider: str = Field(description="where it ran: CUDAExecutionProvider or CPUExecutionProvider")
    quantized: str | SkipJsonSchema[None] = Field(
        default=None, description="only of an int8 model: which network answered, and how far the other one is from it"
    )
    request_id: str


class LabelledImage(BaseModel):
    """An image of a JSON body."""

    data: str = Field(json_schema_extra={"contentEncoding": "base64"})
    label: str | int | list[str | int] | SkipJsonSchema[None] = Field(
        default=None,
        description="index or name of the class; where labels are independent, a list of those that apply, or one; "
        "default: what `label` or `labels` says, else as predicted",
    )


class RankedLabel(BaseModel):
    label: str
    index: int
    probability: Number


class Prediction(BaseModel):
    labels: list[RankedLabel] = Field(description="best first")
    predicted: list[str] | SkipJsonSchema[None] = Field(
        default=None,
        description="where labels are independent: all whose probability is above one half, the most probable first",
    )


class Predictions(ModelAnswer):
    predictions: list[Prediction] = Field(description="one per image, in the order sent")


class Problem(BaseModel):
    """RFC 9457, with the request's id."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    retry_after_ms: int | None = Field(default=None, description="milliseconds after which to try again (429, 503)")


class GraphStatus(BaseModel):
    state: Literal["unloaded", "loading", "ready", "failed"] = Field(
        description="unloaded: loads on its first use; failed: see `reason`"
    )
    reason: str | None = None
    best_batch: int | None = Field(default=None, description="images per run, as measured at warm-up")
    milliseconds_per_image: float | None = None


class ModelSummary(BaseModel):
    name: str
    version: str
    bundle: str
    execution_provider: str
    ready: bool
    default: bool
    family: str
    depth: int
    graphs: dict[str, GraphStatus]


class Limits(BaseModel):
    """What one request may have at most, so that a client can shrink a photograph before it sends it."""

    body_bytes: int
    image_pixels: int = Field(description="width × height of one image; of a WEBP or AVIF at most 16,000,000")


class ModelList(BaseModel):
    default: str | None = Field(description="the model of requests that name none, as name or name@version")
    default_missing: str | None = Field(description="why the default model that is set is not served")
    execution_provider: str
    execution_provider_reason: str
    limits: Limits
    models: list[ModelSummary]
    refused: dict[str, str] = Field(description="folder of a bundle that is not served → why")
    unavailable: dict[str, str] = Field(
        description="folder that cannot be read or loaded at the moment → why; what was served from it is served on"
    )


class ModelDescription(ModelSummary):
    versions: list[str]
    labels: list[str]
    label_kind: LabelKindName = Field(description="exclusive: one class an image; independent: any number of labels")
    input: dict[str, Any]
    architecture: dict[str, Any]
    layers: list[dict[str, Any]]
    other_parameters: list[dict[str, Any]]
    training: dict[str, Any] | None
    baseline: dict[str, Any] | None
    quantized: dict[str, Any] | None = Field(
        description="of an int8 model, which predicts by the file's own graph while gradients are of the float network "
        "it stands for: the measured difference between the two"
    )
    parity: list[dict[str, Any]]
    opset: int
    producer: str
    provenance: dict[str, str] = Field(description="of an imported model: value settled → what it is, and who says so")
    notes: list[str]


class Liveness(BaseModel):
    live: Literal[True] = True


class Readiness(BaseModel):
    """If API keys are required, callers without one get `ready` alone."""

    ready: Literal[True] = True
    execution_provider: str = ""
    models: dict[str, dict[str, str]] = Field(default={}, description="name@version → graph → state")


class ProtocolError(BaseModel):
    """The error shape of the Open Inference Protocol."""

    error: str
