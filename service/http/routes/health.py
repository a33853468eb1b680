"""`GET /health/live` and `/health/ready`, for orchestrators.

Probes send no keys. If the settings require keys, callers without one learn no names of models.
"""

from __future__ import annotations

from fastapi import APIRouter

from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.errors import LoaderEnded, NotReady, ShuttingDown, Unavailable, problem
from service.http.answers.responses import PROBLEM, Answer, json_answer, to_json
from service.http.answers.schemas import Liveness, Readiness
from service.http.calls.call import Call
from service.http.calls.lifecycle import Lifecycle
from service.settings.fields import ReadyWhen

router = APIRouter(prefix="/health", tags=["health"])

MOST_NAMES = 10
"""Models that the detail of an answer lists by name."""


@router.get("/live", response_model=Liveness)
async def live(call: Call) -> Answer:
    """The process answers, and still looks after its bundles."""
    check_alive(call.service.loader)
    return json_answer({"live": True})


@router.get("/ready", response_model=Readiness)
async def ready(call: Call) -> Answer:
    """Every accepted bundle predicts (or, with `ready_when` default, the default model), and the default is there.

    A bundle that is refused, or whose graph cannot be loaded, does not prevent this, unless it is the default;
    `/models` lists such bundles. Neither does a shadow that is still loading.
    Where models are loaded by name, only those of the setting `load_models` must be served, and the default if it is
    set.
    """
    service, known = call.service, may_know_models(call)
    error = unreadiness(service.registry, service.lifecycle, service.settings.ready_when, names=known)
    detail = {"execution_provider": service.runtime.provider, "models": _states(service.registry)} if known else {}
    if error is not None:
        call.error = error
        document = {**problem(error, call.context.id), **detail}
        return Answer(503, [PROBLEM, (b"retry-after", b"1")], to_json(document))
    return json_answer({"ready": True, **detail})


def check_alive(loader: Loader) -> None:
    """Raise `LoaderEnded` if the folder of bundles is not watched any more, so that the service is restarted."""
    if loader.failure is not None:
        raise LoaderEnded(loader.failure)


def may_know_models(call: Call) -> bool:
    """Return whether the caller may learn the names of models."""
    return call.service.access.admits(call.fields)


def unreadiness(registry: Registry, lifecycle: Lifecycle, when: ReadyWhen, *, names: bool) -> Unavailable | None:
    """Return why no requests should be sent here, with or without names of models; None if they should."""
    if lifecycle.draining:
        return ShuttingDown("The service is shutting down.")
    reason = _what_is_missing(registry, when)
    if reason is None:
        return None
    in_words, in_words_with_names = reason
    return NotReady(in_words_with_names if names else in_words)


def _what_is_missing(registry: Registry, when: ReadyWhen) -> tuple[str, str] | None:
    """Return what is missing, in words without names of models and in words with them; None if nothing is."""
    if not registry.complete or (registry.default_name is None and not registry.is_explicit):
        absent = registry.absent_source()
        if absent is not None:
            return f"No model is served. {absent[0]}", f"No model is served. {absent[1]}"
        told = "No model is served." if registry.complete else "The bundles are still being read."
        return told, told
    if when == "all" and registry.not_loaded:
        name, why = next(iter(registry.not_loaded.items()))
        return "A model of load_models is not served.", f"{name}, of load_models, is not served: {why}."
    if registry.default_name is None:
        return None  # nothing is to be served yet
    missing = registry.missing_default()
    if missing is not None:
        return "The default model is not served.", missing
    defaults = registry.default_models()
    if not any(model.ready for model in defaults):
        return "The default model is still loading.", f"The default model {registry.default_name} is still loading."
    if when == "all" and registry.importing:
        count = len(registry.importing)
        told = f"{count} model{'s are' if count > 1 else ' is'} still being imported"
        return f"{told}.", f"{told}: {', '.join(registry.importing[:MOST_NAMES])}."
    loading = [model.full_name for model in registry.models() if model.loading and model.full_name != registry.shadow]
    if when == "all" and loading:
        told = f"{len(loading)} of {len(registry.models())} models are still loading"
        more = ", …" if len(loading) > MOST_NAMES else ""
        return f"{told}.", f"{told}: {', '.join(loading[:MOST_NAMES])}{more}."
    return None


def _states(registry: Registry) -> dict[str, dict[str, str]]:
    return {model.full_name: {name: graph.state for name, graph in model.graphs.items()} for model in registry.models()}
