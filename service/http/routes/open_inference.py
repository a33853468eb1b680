"""`/v2/…`: the Open Inference Protocol over REST. Its clients send no content type, so none is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray

from service import __version__
from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle, GraphName
from service.errors import MalformedRequest
from service.http.answers.openapi import NAME, VERSION
from service.http.answers.responses import Answer, json_answer
from service.http.calls.call import Call, Endpoint
from service.http.open_inference import schemas
from service.http.open_inference.answers import HEADER_LENGTH, classified, infer_answer
from service.http.open_inference.catalogue import IMAGE, INPUT, LABEL, Catalogue
from service.http.open_inference.requests import InferRequest, RequestedOutput, read_request
from service.http.requests.forms import LARGE_BODY
from service.http.routes.explanations.tensors import explanation_tensors
from service.http.routes.health import check_alive, may_know_models, unreadiness
from service.http.routes.submissions import model_in_path
from service.http.routes.top_labels import keep_top_labels

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

SERVER_NAME = "contraflow"
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics", "raw_encoded_image"]
"""Extensions of every service."""
REPOSITORY = ["model_repository", "model_repository(unload_dependents)"]
"""Extensions of a service that loads by name. The protocol asks for index, load and unload together, so that one with
the index alone does not have the extension. No model depends on another: `unload_dependents` has none to unload."""
PLATFORM = "onnxruntime_onnx"

LARGE_ANSWER = 10_000
"""Values above which an answer is written in a thread, off the event loop."""


def of_model(path: str, name: str, schema: type[schemas.Body], **more: Any) -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint at two addresses: the model's, where its highest version answers, and the version's.

    They are two operations, because OpenAPI has no optional path parameters; `more` is for both.
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
                **{"methods": ["GET"], **more},
            )
        return endpoint

    return register


@router.get("", response_model=schemas.ServerMetadata)
async def server_metadata(call: Call) -> Answer:
    """Name, version and extensions. `raw_encoded_image`: a body with header length 0 is one encoded image."""
    extensions = [*EXTENSIONS, *(REPOSITORY if call.service.registry.is_explicit else ())]
    return json_answer({"name": SERVER_NAME, "version": __version__, "extensions": extensions})


@router.get("/health/live", response_model=schemas.ServerLive)
async def server_live(call: Call) -> Answer:
    """The process answers, and still looks after its bundles."""
    check_alive(call.service.loader)
    return json_answer({"live": True})


@router.get("/health/ready", response_model=schemas.ServerReady)
async def server_ready(call: Call) -> Answer:
    """The same as `/health/ready`: by default, every accepted bundle predicts."""
    service = call.service
    names = may_know_models(call)
    error = unreadiness(service.registry, service.lifecycle, service.settings.ready_when, names=names)
    if error is not None:
        raise error
    return json_answer({"live": True, "ready": True})


@router.get("/models", response_model=schemas.ModelNames)
async def model_names(call: Call) -> Answer:
    """The names of the models that are served."""
    return json_answer({"models": call.service.registry.names()})


@router.get("/models/stats", response_model=schemas.Statistics)
async def all_statistics(call: Call) -> Answer:
    """Runs of every model, in Triton's shape."""
    service = call.service
    return json_answer({"model_stats": [service.ledger.statistics(model) for model in service.registry.models()]})


@of_model("", "model_metadata", schemas.ModelMetadata)
async def model_metadata(call: Call) -> Answer:
    """The model's tensors."""
    model, registry = model_in_path(call), call.service.registry
    catalogue = Catalogue(model.bundle)
    return json_answer(
        {
            "name": model.name,
            "versions": [other.version for other in registry.versions(model.name)],
            "platform": PLATFORM,
            "inputs": [catalogue.input.metadata()],
            "outputs": [tensor.metadata() for tensor in catalogue.outputs],
        }
    )


@of_model("/ready", "model_ready", schemas.ModelReady)
async def model_ready(call: Call) -> Answer:
    """The model predicts; its other graphs load on their first use."""
    model = model_in_path(call)
    model.graph("forward").check_ready()
    return json_answer({"name": model.name, "ready": True})


@of_model("/config", "model_config", schemas.ModelConfig)
async def model_config(call: Call) -> Answer:
    """The model in the shape of a Triton configuration, with the optional inputs."""
    model, settings = model_in_path(call), call.service.settings
    catalogue = Catalogue(model.bundle)
    return json_answer(
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
async def model_statistics(call: Call) -> Answer:
    """Runs of one model, in Triton's shape."""
    return json_answer({"model_stats": [call.service.ledger.statistics(model_in_path(call))]})


@of_model(
    "/infer",
    "infer",
    schemas.InferAnswer,
    methods=["POST"],
    responses={200: {"description": "the outputs", "content": schemas.BINARY}},
    openapi_extra=schemas.INFER,
)
async def infer(call: Call) -> Answer:
    """Forward outputs, or any output by name; gradients with the parameter `gradients`.

    Explanations (`grad_cam`, `layer_evidence`, `logit_gradient`) are asked for by name; the parameter `layer` names the
    layer whose map it is.
    """
    model = model_in_path(call)
    catalogue = Catalogue(model.bundle)
    check = partial(catalogue.check_input, max_images=call.service.settings.max_images)
    read = partial(read_request, call.body, call.headers.get(HEADER_LENGTH), check)
    asked = await asyncio.to_thread(read) if len(call.body) > LARGE_BODY else read()
    outputs = asked.outputs if asked.outputs is not None else _default_outputs(asked, catalogue)
    graphs = catalogue.graphs_for(output.name for output in outputs)
    tensors = await _run(call, model, asked, graphs, {output.name for output in outputs})
    keep_top_labels(call, model, tensors)
    values = [(output, _value(output, tensors, model)) for output in outputs]
    identity: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        identity["id"] = asked.id
    if (record := model.bundle.quantized) is not None:
        identity["parameters"] = {"quantized": record.of_forward if "forward" in graphs else record.of_network}
    accept_encoding = ", ".join(call.headers.getlist("accept-encoding"))
    write = partial(infer_answer, identity, values, accept_encoding)
    many = sum(value.size for _, value in values) > LARGE_ANSWER
    return await asyncio.to_thread(write) if many else write()


def _default_outputs(asked: InferRequest, catalogue: Catalogue) -> tuple[RequestedOutput, ...]:
    tensors = (*catalogue.forward, *catalogue.gradients) if asked.gradients else catalogue.forward
    return tuple(RequestedOutput(tensor.name, asked.binary_default) for tensor in tensors)


def _value(output: RequestedOutput, tensors: dict[str, Array], model: ServedModel) -> Array:
    array = tensors[output.name]
    if not output.classification:
        return array
    if output.name not in ("logits", "probabilities"):
        raise MalformedRequest(f"The output {output.name} has no classes to rank.")
    return classified(array, model.bundle.labels, output.classification)


async def _run(
    call: Call, model: ServedModel, asked: InferRequest, graphs: list[GraphName], wanted: Collection[str]
) -> dict[str, Array]:
    """Return the outputs of all graphs; the forward graph's win where several give one.

    Of the graph `explanation` only those that are `wanted`: each may need a run of its own.
    """
    engine, context = call.service.engine, call.context
    images, labels = _images_and_labels(asked, model)
    files = images if isinstance(images, tuple) else ()
    if isinstance(images, tuple):
        images = await call.service.decode_pool.pixels(images, model.bundle.input, context)
    explained: dict[str, Array] = {}
    if "explanation" in graphs:
        explained = await explanation_tensors(call, model, images, labels, asked.parameters.get("layer"), wanted)
        graphs = [graph for graph in graphs if graph != "explanation"]
    results = await asyncio.gather(
        *(engine.run(model, graph, images, labels if graph != "forward" else None, request=context) for graph in graphs)
    )
    outputs = dict(zip(graphs, results, strict=True))
    merged = explained
    for graph in sorted(graphs, key="forward".__eq__):
        merged.update(outputs[graph])
    if call.service.shadowing is not None and "forward" in outputs:
        call.service.shadowing.offer(model, files, images, merged["probabilities"])
    return merged


def _images_and_labels(
    asked: InferRequest, model: ServedModel
) -> tuple[tuple[bytes, ...] | Array, NDArray[np.int64] | None]:
    """Return the one of `input` and `image` that is given, and `label`; each has been checked on its own.

    Raises:
        MalformedRequest: neither, both, or labels that do not fit.
    """
    if (INPUT in asked.inputs) == (IMAGE in asked.inputs):
        raise MalformedRequest("Give one of the inputs `input` and `image`.")
    images: tuple[bytes, ...] | Array
    images = tuple(asked.inputs[IMAGE].ravel().tolist()) if IMAGE in asked.inputs else asked.inputs[INPUT]
    return images, _labels(asked, len(images), model.bundle)


def _labels(asked: InferRequest, count: int, bundle: Bundle) -> NDArray[np.int64] | None:
    labels = asked.inputs.get(LABEL)
    if labels is None:
        return None
    if bundle.label_kind == "independent":
        if len(labels) != count:
            raise MalformedRequest(f"The input `label` must have one row for each of the {count} images.")
        if ((labels < -1) | (labels > 1)).any():
            raise MalformedRequest("Independent labels are 1 (applies), 0 (does not) or −1 (as predicted).")
        return labels
    if labels.size != count:
        raise MalformedRequest(f"The input `label` must have one class for each of the {count} images.")
    classes = len(bundle.labels)
    if ((labels < -1) | (labels >= classes)).any():
        raise MalformedRequest(f"A label is outside −1…{classes - 1} (−1: the predicted class).")
    return labels.ravel()
