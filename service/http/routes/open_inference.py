"""`/v2/…`: the Open Inference Protocol over REST. Bodies are parsed by us: its clients send no content type."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from service.bundles.registry import ServedModel
from service.contract.bundle_schema import GraphName
from service.engine.engine import Engine
from service.errors import MalformedRequest
from service.http.answers.openapi import NAME, PLAIN_PROTOCOL_ERRORS, PROTOCOL_ERRORS, VERSION, Responses
from service.http.answers.responses import JsonResponse
from service.http.open_inference import schemas
from service.http.open_inference.answers import HEADER_LENGTH, answer, classified, compressed
from service.http.open_inference.catalogue import IMAGE, INPUT, LABEL, Catalogue
from service.http.open_inference.requests import InferRequest, RequestedOutput, read_request
from service.http.requests.forms import LARGE_BODY
from service.http.routes.dependencies import (
    EngineDependency,
    LifecycleDependency,
    ModelDependency,
    RegistryDependency,
    SettingsDependency,
    body_of,
    context_of,
)
from service.http.routes.health import admitted, check_alive, unreadiness
from service.settings import Settings

Array = NDArray[Any]

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

router = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=PLAIN_PROTOCOL_ERRORS)

SERVER_NAME = "contraflow"
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository", "model_configuration", "statistics",
              "raw_encoded_image"]  # fmt: skip
PLATFORM = "onnxruntime_onnx"

LARGE_ANSWER = 10_000
"""Values above which an answer is written off the event loop."""


def errors(*statuses: int) -> Responses:
    return {status: PROTOCOL_ERRORS[status] for status in statuses}


def of_model(path: str, name: str, schema: type[schemas.Body], **more: Any) -> Callable[[Endpoint], Endpoint]:
    """Registers an endpoint at two addresses: the model's, where its highest version answers, and the version's.

    Two operations, since a parameter in a path is never left out; `more` is for both.
    """
    extra = more.pop("openapi_extra", {})
    own = extra.get("parameters", [])
    highest = ("/models/{name}", name, [NAME])
    named = ("/models/{name}/versions/{version}", f"{name}_with_version", [NAME, VERSION])

    def register(endpoint: Endpoint) -> Endpoint:
        for address, operation, parameters in (highest, named):
            router.add_api_route(
                address + path,
                endpoint,
                name=operation,
                response_model=schema,
                openapi_extra={**extra, "parameters": [*parameters, *own]},
                **{"methods": ["GET"], "responses": errors(404), **more},
            )
        return endpoint

    return register


@router.get("", response_model=schemas.ServerMetadata)
async def server_metadata() -> JsonResponse:
    """Name and extensions. `raw_encoded_image`: a body with header length 0 is one encoded image."""
    return JsonResponse({"name": SERVER_NAME, "version": "2", "extensions": EXTENSIONS})


@router.get("/health/live", response_model=schemas.ServerLive)
async def server_live(request: Request) -> JsonResponse:
    """The process answers, and still looks after its bundles."""
    check_alive(request.app.state.loader)
    return JsonResponse({"live": True})


@router.get("/health/ready", response_model=schemas.ServerReady)
async def server_ready(
    request: Request, registry: RegistryDependency, lifecycle: LifecycleDependency, settings: SettingsDependency
) -> JsonResponse:
    """The same as `/health/ready`: by default, every accepted bundle predicts."""
    error = unreadiness(registry, lifecycle, settings.ready_when, names=admitted(request))
    if error is not None:
        raise error
    return JsonResponse({"live": True, "ready": True})


@router.get("/models", response_model=schemas.ModelNames)
async def model_names(registry: RegistryDependency) -> JsonResponse:
    """The names of the models that are served."""
    return JsonResponse({"models": registry.names()})


@router.get("/models/stats", response_model=schemas.Statistics)
async def all_statistics(request: Request, registry: RegistryDependency) -> JsonResponse:
    """What every model has run, in Triton's shape."""
    return JsonResponse({"model_stats": [request.app.state.ledger.statistics(m) for m in registry.models()]})


@of_model("", "model_metadata", schemas.ModelMetadata)
async def model_metadata(model: ModelDependency, registry: RegistryDependency) -> JsonResponse:
    """The model's tensors."""
    catalogue = Catalogue(model.bundle)
    return JsonResponse(
        {
            "name": model.name,
            "versions": [other.version for other in registry.versions(model.name)],
            "platform": PLATFORM,
            "inputs": [catalogue.input.metadata()],
            "outputs": [tensor.metadata() for tensor in catalogue.outputs],
        }
    )


@of_model("/ready", "model_ready", schemas.ModelReady)
async def model_ready(model: ModelDependency) -> JsonResponse:
    """The model predicts; its other graphs load on their first use."""
    model.graph("forward").check_ready()
    return JsonResponse({"name": model.name, "ready": True})


@of_model("/config", "model_config", schemas.ModelConfig)
async def model_config(model: ModelDependency, settings: SettingsDependency) -> JsonResponse:
    """The model in the shape of a Triton configuration, with the optional inputs."""
    catalogue = Catalogue(model.bundle)
    return JsonResponse(
        {
            "name": model.name,
            "platform": PLATFORM,
            "backend": "onnxruntime",
            "max_batch_size": settings.max_images,
            "input": [
                catalogue.input.config(optional=True),
                catalogue.image.config(optional=True),
                catalogue.label.config(optional=True),
            ],
            "output": [tensor.config() for tensor in catalogue.outputs],
        }
    )


@of_model("/stats", "model_statistics", schemas.Statistics)
async def model_statistics(request: Request, model: ModelDependency) -> JsonResponse:
    """What one model has run, in Triton's shape."""
    return JsonResponse({"model_stats": [request.app.state.ledger.statistics(model)]})


@router.post("/repository/index", response_model=list[schemas.RepositoryEntry], responses=errors(413))
async def repository_index(registry: RegistryDependency) -> JsonResponse:
    """Every version that is served, and every bundle that is not, with the reason."""
    served = [
        {
            "name": model.name,
            "version": model.version,
            "state": "READY" if model.ready else "LOADING",
            "reason": "",
        }
        for model in registry.models()
    ]
    refused = [
        {"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason}
        for name, reason in (*registry.refused.items(), *registry.unavailable.items())
    ]
    return JsonResponse(served + refused)


@router.post("/repository/models/{name}/{action}", include_in_schema=False)
async def repository_action(name: str, action: str) -> JsonResponse:
    """Always 400, and so no part of the document: bundles are added and removed in the folder, which is watched."""
    raise MalformedRequest(f"Cannot {action[:16]} {name[:64]}: add or remove the bundle's folder instead.")


@of_model(
    "/infer",
    "infer",
    schemas.InferAnswer,
    methods=["POST"],
    responses={200: {"description": "the outputs", "content": schemas.BINARY}} | PROTOCOL_ERRORS,
    openapi_extra=schemas.INFER,
)
async def infer(
    request: Request, model: ModelDependency, engine: EngineDependency, settings: SettingsDependency
) -> Response:
    """Forward outputs, or any output by name; gradients with the parameter `gradients`."""
    catalogue = Catalogue(model.bundle)
    body = await body_of(request)
    take_apart = partial(_take_apart, body, request.headers, catalogue, settings)
    asked = await asyncio.to_thread(take_apart) if len(body) > LARGE_BODY else take_apart()
    outputs = asked.outputs if asked.outputs is not None else _default_outputs(asked, catalogue)
    graphs = catalogue.graphs_for(output.name for output in outputs)
    tensors = await _run(request, engine, model, asked, graphs)
    identity = {"model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        identity["id"] = asked.id
    values = [(output, _value(output, tensors, model)) for output in outputs]
    accept_encoding = ", ".join(request.headers.getlist("accept-encoding"))
    put_together = partial(_put_together, identity, values, accept_encoding)
    many = sum(value.size for _, value in values) > LARGE_ANSWER
    content, headers = await asyncio.to_thread(put_together) if many else put_together()
    return Response(content, 200, headers)


def _put_together(
    identity: Mapping[str, str], values: list[tuple[RequestedOutput, Array]], accept_encoding: str
) -> tuple[bytes, dict[str, str]]:
    content, headers = answer(identity, values)
    headers["vary"] = "accept-encoding"
    content, coding = compressed(content, accept_encoding)
    if coding:
        headers["content-encoding"] = coding
    return content, headers


def _take_apart(body: bytes, headers: Mapping[str, str], catalogue: Catalogue, settings: Settings) -> InferRequest:
    check = partial(catalogue.check_input, max_images=settings.max_images)
    return read_request(body, headers.get(HEADER_LENGTH), check)


def _default_outputs(asked: InferRequest, catalogue: Catalogue) -> tuple[RequestedOutput, ...]:
    tensors = catalogue.outputs if asked.gradients else catalogue.forward
    return tuple(RequestedOutput(tensor.name, asked.binary_default) for tensor in tensors)


def _value(output: RequestedOutput, tensors: dict[str, Array], model: ServedModel) -> Array:
    array = tensors[output.name]
    if not output.classification:
        return array
    if output.name not in ("logits", "probabilities"):
        raise MalformedRequest(f"The output {output.name} has no classes to rank.")
    return classified(array, model.bundle.labels, output.classification)


async def _run(
    request: Request,
    engine: Engine,
    model: ServedModel,
    asked: InferRequest,
    graphs: list[GraphName],
) -> dict[str, Array]:
    """The outputs of all graphs; those of the forward graph win where several give one."""
    context = await context_of(request)
    images, labels = _images_and_labels(asked, model)
    if isinstance(images, tuple):
        images = await request.app.state.decode_pool.pixels(images, model.bundle.input, context)
    results = await asyncio.gather(
        *(engine.run(model, graph, images, labels if graph != "forward" else None, request=context) for graph in graphs)
    )
    merged: dict[str, Array] = {}
    for graph, result in sorted(zip(graphs, results, strict=True), key=lambda pair: pair[0] == "forward"):
        merged.update(result)
        del graph
    return merged


def _images_and_labels(
    asked: InferRequest, model: ServedModel
) -> tuple[tuple[bytes, ...] | Array, NDArray[np.int64] | None]:
    """The one of `input` and `image` that is given, and `label`; each alone has been checked already.

    Raises:
        MalformedRequest: neither, both, or labels that do not fit.
    """
    if (INPUT in asked.inputs) == (IMAGE in asked.inputs):
        raise MalformedRequest("Give one of the inputs `input` and `image`.")
    images: tuple[bytes, ...] | Array
    images = tuple(asked.inputs[IMAGE].ravel().tolist()) if IMAGE in asked.inputs else asked.inputs[INPUT]
    return images, _labels(asked, len(images), len(model.bundle.labels))


def _labels(asked: InferRequest, count: int, classes: int) -> NDArray[np.int64] | None:
    labels = asked.inputs.get(LABEL)
    if labels is None:
        return None
    if labels.size != count:
        raise MalformedRequest(f"The input `label` must have one class for each of the {count} images.")
    if ((labels < -1) | (labels >= classes)).any():
        raise MalformedRequest(f"A label is outside −1…{classes - 1} (−1: the predicted class).")
    return labels.ravel()
