"""Schemas of the protocol's bodies, for the OpenAPI document; `requests.py` checks what is read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from service.http.answers.openapi import BYTES, DEADLINE, PICTURE
from service.http.open_inference.catalogue import IMAGE

DATATYPE = "BOOL, INT8 … INT64, UINT8 … UINT64, FP16, BF16, FP32, FP64 or BYTES"


class Body(BaseModel):
    """A JSON object that may have further members."""

    model_config = ConfigDict(extra="allow")


# ---------------------------------------------------------------- infer


class InferInputParameters(Body):
    binary_data_size: int | SkipJsonSchema[None] = Field(
        default=None, ge=0, description="bytes of this tensor behind the JSON, in place of `data`"
    )


class InferInput(Body):
    name: str = Field(description="input (preprocessed, FP32), or image (encoded files, BYTES); label (INT64)")
    datatype: str = Field(description=DATATYPE)
    shape: list[int] = Field(max_length=8)
    data: list[Any] | SkipJsonSchema[None] = Field(default=None, description="row by row, nested or flat")
    parameters: InferInputParameters | SkipJsonSchema[None] = None


class RequestedOutputParameters(Body):
    binary_data: bool | SkipJsonSchema[None] = Field(default=None, description="behind the JSON, not in it")
    classification: int | SkipJsonSchema[None] = Field(
        default=None, ge=0, description="so many ranked classes in place of logits or probabilities"
    )


class RequestedOutput(Body):
    name: str = Field(description="as the model's metadata lists them; a gradient too")
    parameters: RequestedOutputParameters | SkipJsonSchema[None] = None


class InferParameters(Body):
    binary_data_output: bool | SkipJsonSchema[None] = Field(
        default=None, description="every output behind the JSON, not in it"
    )
    gradients: bool | SkipJsonSchema[None] = Field(
        default=None, description="every output of the gradient graphs too, where none is named"
    )


class InferBody(Body):
    """Pictures or tensors to run; `outputs` left out means logits and probabilities."""

    id: str | SkipJsonSchema[None] = Field(default=None, max_length=2**12)
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[RequestedOutput] | SkipJsonSchema[None] = None
    parameters: InferParameters | SkipJsonSchema[None] = None


class InferOutput(Body):
    name: str
    datatype: str = Field(description=DATATYPE)
    shape: list[int]
    data: list[Any] | SkipJsonSchema[None] = Field(default=None, description="flat; absent where it is binary")
    parameters: dict[str, Any] | SkipJsonSchema[None] = None


class InferAnswer(Body):
    model_name: str
    model_version: str
    id: str | SkipJsonSchema[None] = None
    parameters: dict[str, Any] | SkipJsonSchema[None] = Field(
        default=None, description="of an int8 model, `quantized`: which network answered"
    )
    outputs: list[InferOutput]


BINARY: dict[str, Any] = {"application/octet-stream": {"schema": BYTES}}
"""Tensors behind the JSON, or one encoded image alone."""

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
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{InferBody.__name__}"},
                "example": {"inputs": [{"name": IMAGE, "datatype": "BYTES", "shape": [1], "data": [PICTURE]}]},
            },
            **BINARY,
        },
    },
}
"""`openapi_extra` of the endpoint."""

# ---------------------------------------------------------------- server and models


class ServerMetadata(Body):
    name: str
    version: str
    extensions: list[str]


class ServerLive(Body):
    live: bool


class ServerReady(Body):
    live: bool
    ready: bool


class ModelNames(Body):
    models: list[str]


class ModelReady(Body):
    name: str
    ready: bool


class TensorMetadata(Body):
    name: str
    datatype: str
    shape: list[int] = Field(description="−1 is the batch")


class ModelMetadata(Body):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(Body):
    name: str
    data_type: str
    dims: list[int]
    optional: bool | SkipJsonSchema[None] = None


class ModelConfig(Body):
    """In the shape of a Triton configuration."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class RunCount(Body):
    count: int
    ns: int | SkipJsonSchema[None] = None


class InferenceStatistics(Body):
    compute_infer: RunCount


class BatchStatistics(Body):
    batch_size: int
    compute_infer: RunCount


class ModelStatistics(Body):
    name: str
    version: str
    last_inference: int = Field(description="milliseconds since 1970; 0: never")
    inference_count: int
    execution_count: int
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class Statistics(Body):
    """In Triton's shape."""

    model_stats: list[ModelStatistics]


class RepositoryEntry(Body):
    name: str
    version: str
    state: str = Field(description="READY, LOADING or UNAVAILABLE")
    reason: str
