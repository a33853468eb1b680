"""Schemas of the protocol's bodies, for the OpenAPI document; `requests.py` checks what is read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.http.answers.openapi import A_PICTURE, BYTES, DEADLINE, NAME
from service.http.open_inference.catalogue import IMAGE

DATATYPE = "BOOL, INT8 … INT64, UINT8 … UINT64, FP16, BF16, FP32, FP64 or BYTES"


class Body(BaseModel):
    """A JSON object that may have further members."""

    model_config = ConfigDict(extra="allow")


# ---------------------------------------------------------------- infer


class InferInputParameters(Body):
    """Parameters of one input tensor."""

    binary_data_size: int | SkipJsonSchema[None] = Field(
        default=None, ge=0, description="bytes of this tensor behind the JSON, in place of `data`"
    )


class InferInput(Body):
    """One input tensor: give `input` or `image`, and `label` with either."""

    name: str = Field(description="input (preprocessed, FP32), or image (encoded files, BYTES); label (INT64)")
    datatype: str = Field(description=DATATYPE)
    shape: list[int] = Field(max_length=8, description="its axes, the batch first, e.g. [1, 3, 32, 32] or [1]")
    data: list[Any] | SkipJsonSchema[None] = Field(
        default=None, description="numbers, or base64 for BYTES; row by row, nested or flat"
    )
    parameters: InferInputParameters | SkipJsonSchema[None] = Field(
        default=None, description="where the tensor's values are, if not in `data`"
    )


class RequestedOutputParameters(Body):
    """Parameters of one output."""

    binary_data: bool | SkipJsonSchema[None] = Field(
        default=None, description="true: the tensor follows the JSON, as bytes"
    )
    classification: int | SkipJsonSchema[None] = Field(
        default=None, ge=0, description="number of ranked classes that are wanted in place of logits or probabilities"
    )


class RequestedOutput(Body):
    """One output that is asked for."""

    name: str = Field(description="as the model's metadata lists them; a gradient too")
    parameters: RequestedOutputParameters | SkipJsonSchema[None] = Field(
        default=None, description="in what form the output is wanted"
    )


class InferParameters(Body):
    """Parameters of the request."""

    binary_data_output: bool | SkipJsonSchema[None] = Field(
        default=None, description="true: every output follows the JSON, as bytes"
    )
    gradients: bool | SkipJsonSchema[None] = Field(
        default=None, description="every output of the gradient graphs too, where none is named"
    )
    layer: str | SkipJsonSchema[None] = Field(
        default=None, description="of grad_cam and layer_evidence: a layer with a map; default: the last of them"
    )


class InferBody(Body):
    """Pictures or tensors to run; `outputs` left out means logits and probabilities."""

    id: str | SkipJsonSchema[None] = Field(default=None, max_length=2**12, description="given back in the answer")
    inputs: list[InferInput] = Field(min_length=1, description="the input tensors")
    outputs: list[RequestedOutput] | SkipJsonSchema[None] = Field(
        default=None, description="the outputs wanted; default: logits and probabilities"
    )
    parameters: InferParameters | SkipJsonSchema[None] = Field(default=None, description="of the whole request")


class InferOutput(Body):
    """One output tensor."""

    name: str = Field(description="as the model's metadata lists it")
    datatype: str = Field(description=DATATYPE)
    shape: list[int] = Field(description="its axes, the batch first")
    data: list[Any] | SkipJsonSchema[None] = Field(default=None, description="flat; absent where it is binary")
    parameters: dict[str, Any] | SkipJsonSchema[None] = Field(
        default=None, description="`binary_data_size`: bytes of the tensor behind the JSON, where it is binary"
    )


class InferAnswer(Body):
    """The outputs of a model."""

    model_name: str = Field(description="name of the model that answered")
    model_version: str = Field(description="its version: digits")
    id: str | SkipJsonSchema[None] = Field(default=None, description="the request's `id`; absent if it had none")
    parameters: dict[str, Any] | SkipJsonSchema[None] = Field(
        default=None, description="of an int8 model, `quantized`: which network answered"
    )
    outputs: list[InferOutput] = Field(description="one per output asked for, in that order")


BINARY: dict[str, Any] = {"application/octet-stream": {"schema": BYTES}}

INFER: dict[str, Any] = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "bytes of JSON at the head of a binary body; 0: the body is one encoded image",
        },
        DEADLINE,
    ],
    "requestBody": {
        "required": True,
        "description": "JSON, or a binary body with the header `Inference-Header-Content-Length`:\n\n"
        "- length *n* above 0: *n* bytes of the same JSON, in which inputs have `parameters.binary_data_size` in place "
        "of `data`; then the bytes of those inputs one after the other, in their order: numbers little-endian and row "
        "by row, and each element of BYTES after its length in four bytes;\n"
        "- length 0: one encoded image and nothing else.\n\n"
        "`Content-Encoding: gzip` and `deflate` are supported.",
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{InferBody.__name__}"},
                "example": {"inputs": [{"name": IMAGE, "datatype": "BYTES", "shape": [1], "data": [A_PICTURE]}]},
            },
            **BINARY,
        },
    },
}
"""`openapi_extra` of the endpoint."""

# ---------------------------------------------------------------- server and models


class ServerMetadata(Body):
    """This server."""

    name: str = Field(description="contraflow")
    version: str = Field(description="of the service")
    extensions: list[str] = Field(description="extensions of the protocol that it understands")


class ServerLive(Body):
    """The process answers."""

    live: bool = Field(description="always true; a service that is not alive answers 503")


class ServerReady(Body):
    """The service predicts."""

    live: bool = Field(description="always true")
    ready: bool = Field(description="always true; a service that is not ready answers 503")


class ModelNames(Body):
    """The models that are served."""

    models: list[str] = Field(description="their names")


class ModelReady(Body):
    """The model predicts."""

    name: str = Field(description="name of the model")
    ready: bool = Field(description="always true; a model that is not ready answers 503")


class TensorMetadata(Body):
    """One tensor of a model."""

    name: str = Field(description="name of the tensor")
    datatype: str = Field(description=DATATYPE)
    shape: list[int] = Field(description="−1 is the batch")


class ModelMetadata(Body):
    """The tensors of a model."""

    name: str = Field(description="name of the model")
    versions: list[str] = Field(description="its versions that are served")
    platform: str = Field(description="onnxruntime_onnx")
    inputs: list[TensorMetadata] = Field(
        description="the preprocessed images; `image` and `label` are optional besides"
    )
    outputs: list[TensorMetadata] = Field(description="logits, probabilities, and everything that gradients give")


class TensorConfig(Body):
    """One tensor in Triton's words."""

    name: str = Field(description="name of the tensor")
    data_type: str = Field(description="e.g. TYPE_FP32; TYPE_STRING for BYTES")
    dims: list[int] = Field(description="its axes without the batch")
    optional: bool | SkipJsonSchema[None] = Field(default=None, description="true of an input that may be left out")


class ModelConfig(Body):
    """In the shape of a Triton configuration."""

    name: str = Field(description="name of the model")
    platform: str = Field(description="onnxruntime_onnx")
    backend: str = Field(description="onnxruntime")
    max_batch_size: int = Field(description="images that one request may have: the setting max_images")
    input: list[TensorConfig] = Field(description="of `input` and `image` one is needed")
    output: list[TensorConfig] = Field(description="every output that can be asked for")


class RunCount(Body):
    """Runs of a model, and their time."""

    count: int = Field(description="runs")
    ns: int | SkipJsonSchema[None] = Field(default=None, description="nanoseconds of all of them together")


class InferenceStatistics(Body):
    """The cost of runs."""

    compute_infer: RunCount = Field(description="in ONNX Runtime")


class BatchStatistics(Body):
    """Runs of one batch size."""

    batch_size: int = Field(description="images per run")
    compute_infer: RunCount = Field(description="in ONNX Runtime")


class ModelStatistics(Body):
    """Runs of one version of a model, of all its graphs together, since the service started."""

    name: str = Field(description="name of the model")
    version: str = Field(description="its version: digits")
    last_inference: int = Field(description="milliseconds since 1970; 0: never")
    inference_count: int = Field(description="images that ran")
    execution_count: int = Field(description="runs, of any number of images")
    inference_stats: InferenceStatistics = Field(description="of all runs")
    batch_stats: list[BatchStatistics] = Field(description="by batch size, the smallest first")


class Statistics(Body):
    """In Triton's shape."""

    model_stats: list[ModelStatistics] = Field(description="one per version of a model")


class RepositoryIndexBody(Body):
    """Which entries of the index are wanted."""

    ready: bool | SkipJsonSchema[None] = Field(
        default=None, description="true: only what is ready; default: everything"
    )


INDEX: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "description": "May be left out.",
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{RepositoryIndexBody.__name__}"},
                "example": {"ready": True},
            }
        },
    }
}
"""`openapi_extra` of the endpoint."""


class RepositoryEntry(Body):
    """One version that is served, or one bundle that is not."""

    name: str = Field(description="name of the model, or the place of a bundle whose name nobody knows")
    version: str = Field(description="its version: digits; empty where nobody knows it")
    state: Literal["READY", "LOADING", "UNAVAILABLE"] = Field(description="READY: it predicts")
    reason: str = Field(description="why it is not served, or why an earlier state of it is served; empty otherwise")


class RepositoryBody(Body):
    """A load has no parameters."""


class UnloadParameters(Body):
    """Parameters of an unload."""

    unload_dependents: bool | SkipJsonSchema[None] = Field(
        default=None, description="of no effect, because no model depends on another"
    )


class UnloadBody(Body):
    """Options of an unload."""

    parameters: UnloadParameters | SkipJsonSchema[None] = Field(default=None, description="of the request")


def _by_name(body: type[Body], example: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    content = {"application/json": {"schema": schema, "example": example}}
    return {
        "parameters": [{**NAME, "description": "name of a model; all its versions are meant"}, DEADLINE],
        "requestBody": {"required": False, "description": "May be left out.", "content": content},
    }


LOAD: dict[str, Any] = _by_name(RepositoryBody, {})
UNLOAD: dict[str, Any] = _by_name(UnloadBody, {"parameters": {"unload_dependents": False}})
DONE: dict[int | str, dict[str, Any]] = {200: {"description": "it is done; the body is empty"}}
