"""`GET /models` and `GET /models/{name}`: the models that are served, their training, where they run."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from service.bundles.registry import Registry
from service.bundles.served_model import ServedGraph, ServedModel
from service.http.answers.openapi import NAME, PARAMETERS, in_query
from service.http.answers.responses import Answer, json_answer
from service.http.answers.schemas import ModelDescription, ModelList
from service.http.calls.call import Call
from service.http.routes.submissions import model_in_path

router = APIRouter(tags=["models"])


@router.get("/models", response_model=ModelList)
async def list_models(call: Call) -> Answer:
    """Every model and version that is served, and every bundle that is not, with the reason."""
    registry, runtime, settings = call.service.registry, call.service.runtime, call.service.settings
    return json_answer(
        {
            "default": registry.default_name,
            "default_missing": registry.missing_default(),
            "shadow": registry.shadow,
            "execution_provider": runtime.provider,
            "execution_provider_reason": runtime.reason,
            "limits": {"body_bytes": settings.max_body_bytes, "image_pixels": settings.max_image_pixels},
            "models": [summary(model, registry) for model in registry.models()],
            "refused": dict(registry.refused),
            "unavailable": dict(registry.unavailable),
        }
    )


@router.get(
    "/models/{name}",
    response_model=ModelDescription,
    openapi_extra={"parameters": [NAME, in_query("version", PARAMETERS["version"])]},
)
async def describe_model(call: Call) -> Answer:
    """One model: labels, input, layers, training curves, parity with the reference."""
    model, registry = model_in_path(call), call.service.registry
    bundle = model.bundle.model_dump(mode="json", exclude={"graphs", "sha256", "schema_version", "name", "version"})
    bundle.pop("features")
    versions = [other.version for other in registry.versions(model.name)]
    return json_answer({**summary(model, registry), "versions": versions, **bundle, **model.records()})


def summary(model: ServedModel, registry: Registry) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "bundle": model.digest,
        "execution_provider": model.execution_provider,
        "ready": model.ready,
        "default": registry.is_default(model),
        "family": model.bundle.architecture.family,
        "depth": model.bundle.architecture.depth,
        "graphs": {name: _graph_status(graph) for name, graph in model.graphs.items()},
    }


def _graph_status(graph: ServedGraph) -> dict[str, Any]:
    if graph.state != "ready":
        return {"state": graph.state, "reason": graph.failure}
    milliseconds = round(1e3 * graph.seconds_per_image, 3)
    return {"state": "ready", "best_batch": graph.best_batch, "milliseconds_per_image": milliseconds}
