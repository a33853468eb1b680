"""What endpoints share: the engine, the registry, the settings, and the request taken apart.

All are coroutines, though most wait for nothing: FastAPI hands a plain function over to a thread.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.bundles.registry import Registry, ServedModel
from service.contract.runtime import Runtime
from service.engine.engine import Engine
from service.engine.request_context import RequestContext
from service.http.answers.openapi import names_of
from service.http.calls.lifecycle import Lifecycle
from service.http.requests.forms import Limits, read_form_off_the_loop
from service.http.requests.submission import Submission, read_query
from service.settings import Settings


async def engine_of(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def registry_of(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


async def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def lifecycle_of(request: Request) -> Lifecycle:
    lifecycle: Lifecycle = request.app.state.lifecycle
    return lifecycle


async def context_of(request: Request) -> RequestContext:
    context: RequestContext = request.state.context
    return context


async def body_of(request: Request) -> bytes:
    """The body, once. The gateway hands it over in one piece, of which Starlette's `body` would make a copy."""
    body: bytes = (await request.receive())["body"]
    return body


async def model_of(request: Request) -> ServedModel:
    """The model that the path names, in the version that path or query name, else the highest.

    Raises:
        UnknownModel: there is none.
    """
    registry = await registry_of(request)
    version = request.path_params.get("version", request.query_params.get("version"))
    return registry.select(request.path_params["name"], version)


async def read_submission(request: Request) -> Submission:
    """The request's images and options, from whichever form of body."""
    state = request.app.state
    body = await body_of(request)
    content_type = request.headers.get("content-type", "").encode("latin-1")
    limits = Limits(state.settings.max_images, state.settings.max_json_depth)
    known = names_of(request.scope["route"].openapi_extra)
    form = await read_form_off_the_loop(body, content_type, known, limits)
    query = read_query(request.scope["query_string"])
    return Submission(form, query, known, state.registry, state.decode_pool, await context_of(request))


EngineDependency = Annotated[Engine, Depends(engine_of)]
RegistryDependency = Annotated[Registry, Depends(registry_of)]
SettingsDependency = Annotated[Settings, Depends(settings_of)]
RuntimeDependency = Annotated[Runtime, Depends(runtime_of)]
LifecycleDependency = Annotated[Lifecycle, Depends(lifecycle_of)]
ContextDependency = Annotated[RequestContext, Depends(context_of)]
ModelDependency = Annotated[ServedModel, Depends(model_of)]
SubmissionDependency = Annotated[Submission, Depends(read_submission)]
