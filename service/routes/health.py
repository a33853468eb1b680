"""`GET /health/live` and `/health/ready`: what an orchestrator asks."""

from __future__ import annotations

from fastapi import APIRouter

from service.dependencies import ContextDependency, LifecycleDependency, RegistryDependency, RuntimeDependency
from service.errors import NotReady, ShuttingDown, Unavailable, problem
from service.lifecycle import Lifecycle
from service.openapi import ERRORS, PLAIN_ERRORS
from service.registry import Registry
from service.responses import JsonResponse
from service.schemas import Liveness, Readiness

router = APIRouter(prefix="/health", tags=["health"], responses=PLAIN_ERRORS)


@router.get("/live", response_model=Liveness)
async def live() -> JsonResponse:
    """The process answers."""
    return JsonResponse({"live": True})


@router.get("/ready", response_model=Readiness, responses={503: ERRORS[503]})
async def ready(
    registry: RegistryDependency, runtime: RuntimeDependency, lifecycle: LifecycleDependency, context: ContextDependency
) -> JsonResponse:
    """The default model predicts. Every other model and graph has its own state in the answer."""
    states = {
        f"{model.name}@{model.version}": {name: graph.state for name, graph in model.graphs.items()}
        for model in registry.models()
    }
    detail = {"execution_provider": runtime.provider, "models": states}
    error = unreadiness(registry, lifecycle)
    if error is not None:
        response = JsonResponse({**problem(error, context.id), **detail}, 503, media_type="application/problem+json")
        response.headers["retry-after"] = "1"
        return response
    return JsonResponse({"ready": True, **detail})


def unreadiness(registry: Registry, lifecycle: Lifecycle) -> Unavailable | None:
    """Why requests should go elsewhere; None if they should come."""
    if lifecycle.draining:
        return ShuttingDown("The service is shutting down.", retry_after=1.0)
    name = registry.default_name
    if name is None:
        return NotReady("No model is served.", retry_after=1.0)
    if not any(model.ready for model in registry.versions(name)):
        return NotReady(f"The default model {name} is still loading.", retry_after=1.0)
    return None
