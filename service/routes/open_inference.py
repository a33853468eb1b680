"""`/v2/…`: the Open Inference Protocol over REST. Bodies are parsed by us: its clients send no content type."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from service.bundle_schema import GraphName
from service.dependencies import (
    EngineDependency,
    LifecycleDependency,
    RegistryDependency,
    SettingsDependency,
    context_of,
)
from service.engine import Engine
from service.errors import MalformedRequest
from service.forms import LARGE_BODY
from service.open_inference.answers import HEADER_LENGTH, answer, classified, compressed
from service.open_inference.catalogue import IMAGE, INPUT, LABEL, Catalogue
from service.open_inference.requests import InferRequest, RequestedOutput, decompressed, read_request
from service.openapi import PROTOCOL_ERRORS
from service.registry import ServedModel
from service.responses import JsonResponse
from service.routes.health import admitted, check_alive, unreadiness
from service.settings import Settings

Array = NDArray[Any]

router = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=PROTOCOL_ERRORS)

SERVER_NAME = "contraflow"
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository", "model_configuration", "statistics",
              "raw_encoded_image"]  # fmt: skip
PLATFORM = "onnxruntime_onnx"

LARGE_ANSWER = 10_000
"""Values above which an answer is written off the event loop."""


@router.get("")
async def server_metadata() -> JsonResponse:
    """Name and extensions. `raw_encoded_image`: a body with header length 0 is one encoded image."""
    return JsonResponse({"name": SERVER_NAME, "version": "2", "extensions": EXTENSIONS})


@router.get("/health/live")
async def live(request: Request) -> JsonResponse:
    """The process answers, and still looks after its bundles."""
    check_alive(request.app.state.loader)
    return JsonResponse({"live": True})


@router.get("/health/ready")
async def ready(
    request: Request, registry: RegistryDependency, lifecycle: LifecycleDependency, settings: SettingsDependency
) -> JsonResponse:
    """As `/health/ready`: by default, every accepted bundle predicts."""
    error = unreadiness(registry, lifecycle, settings.ready_when, names=admitted(request))
    if error is not None:
        raise error
    return JsonResponse({"live": True, "ready": True})


@router.get("/models")
async def list_models(registry: RegistryDependency) -> JsonResponse:
    """The names of the models that are served."""
    return JsonResponse({"models": registry.names()})


@router.get("/models/stats")
async def all_statistics(request: Request, registry: RegistryDependency) -> JsonResponse:
    """What every model has run, in Triton's shape."""
    return JsonResponse({"model_stats": [request.app.state.ledger.statistics(m) for m in registry.models()]})


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model_metadata(name: str, registry: RegistryDependency, version: str | None = None) -> JsonResponse:
    """The model's tensors."""
    model = registry.select(name, version)
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


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(name: str, registry: RegistryDependency, version: str | None = None) -> JsonResponse:
    """The model predicts; its other graphs load on their first use."""
    model = registry.select(name, version)
    model.graph("forward").check_ready()
    return JsonResponse({"name": model.name, "ready": True})


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{version}/config")
async def model_config(
    name: str, registry: RegistryDependency, settings: SettingsDependency, version: str | None = None
) -> JsonResponse:
    """The model in the shape of a Triton configuration, with the optional inputs."""
    model = registry.select(name, version)
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


@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{version}/stats")
async def model_statistics(
    request: Request, name: str, registry: RegistryDependency, version: str | None = None
) -> JsonResponse:
    """What one model has run, in Triton's shape."""
    model = registry.select(name, version)
    return JsonResponse({"model_stats": [request.app.state.ledger.statistics(model)]})


@router.post("/repository/index")
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


@router.post("/repository/models/{name}/{action}")
async def repository_action(name: str, action: str) -> JsonResponse:
    """Always 400: bundles are added and removed in the folder, which is watched."""
    raise MalformedRequest(f"Cannot {action[:16]} {name[:64]}: add or remove the bundle's folder instead.")


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(
    request: Request,
    name: str,
    registry: RegistryDependency,
    engine: EngineDependency,
    settings: SettingsDependency,
    version: str | None = None,
) -> Response:
    """Forward outputs, or any output by name; gradients with the parameter `gradients`."""
    model = registry.select(name, version)
    catalogue = Catalogue(model.bundle)
    body = await request.body()
    take_apart = partial(_take_apart, body, request.headers, catalogue, settings)
    large = len(body) > LARGE_BODY or "content-encoding" in request.headers
    asked = await asyncio.to_thread(take_apart) if large else take_apart()
    outputs = asked.outputs if asked.outputs is not None else _default_outputs(asked, catalogue)
    graphs = catalogue.graphs_for(output.name for output in outputs)
    tensors = await _run(request, engine, model, asked, graphs)
    identity = {"model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        identity["id"] = asked.id
    values = [(output, _value(output, tensors, model)) for output in outputs]
    put_together = partial(_put_together, identity, values, request.headers.get("accept-encoding", ""))
    many = sum(value.size for _, value in values) > LARGE_ANSWER
    content, headers = await asyncio.to_thread(put_together) if many else put_together()
    return Response(content, 200, headers)


def _put_together(
    identity: Mapping[str, str], values: list[tuple[RequestedOutput, Array]], accepted: str
) -> tuple[bytes, dict[str, str]]:
    content, headers = answer(identity, values)
    content, coding = compressed(content, accepted)
    if coding:
        headers["content-encoding"] = coding
    return content, headers


def _take_apart(body: bytes, headers: Mapping[str, str], catalogue: Catalogue, settings: Settings) -> InferRequest:
    plain = decompressed(body, headers.get("content-encoding", ""), settings.max_body_bytes)
    check = partial(catalogue.check_input, max_images=settings.max_images)
    return read_request(plain, headers.get(HEADER_LENGTH), check)


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
