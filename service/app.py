"""Puts the service together: everything it needs is passed in or made here, nothing is global."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.contract.runtime import Runtime
from service.engine.decoding import DecodePool
from service.engine.engine import Engine
from service.engine.ledger import Ledger
from service.errors import InvalidParameter, ServiceError
from service.http.answers.responses import error_answer, routing_error
from service.http.calls.access import Access
from service.http.calls.addresses import Addresses
from service.http.calls.gateway import Gateway
from service.http.calls.lifecycle import Lifecycle
from service.http.routes import diagnostics, health, metrics, models, open_inference, pages, predict
from service.http.routes.openapi_document import SERVERS, OpenApiDocument, operation_id
from service.http.routes.predict import PredictEndpoint
from service.images.errors import ImageError
from service.machine.connections import Connections
from service.machine.cpu_limit import available_cpus, decode_threads, run_threads
from service.machine.descriptors import limit, most_connections
from service.machine.memory_limit import memory_limit, within_memory
from service.monitoring.metrics import metrics_registry
from service.monitoring.sampling import Sampler
from service.settings import Settings

ROUTERS: tuple[APIRouter, ...] = (
    predict.router,
    diagnostics.router,
    models.router,
    health.router,
    pages.router,
    metrics.router,
    open_inference.router,
)


def create_app(settings: Settings, runtime: Runtime | None = None) -> Gateway:
    """The service as one ASGI application; its lifespan loads the bundles and ends the threads.

    Raises:
        ProviderUnavailable: `settings.execution_provider` is cuda and there is none.
    """
    settings = within_memory(settings, memory_limit())
    cpus = available_cpus()
    registry = Registry(settings.default_model)
    ledger = Ledger()
    lifecycle = Lifecycle()
    access = Access(settings.api_keys, settings.requests_per_second)
    runtime = runtime or Runtime(settings.execution_provider)
    loader = Loader(
        settings.bundles,
        registry,
        runtime,
        max_batch=settings.max_batch,
        warm_up=settings.warm_up,
        diagnostics_at_start=settings.diagnostics_at_start,
        poll_seconds=settings.bundle_poll_seconds,
    )
    engine = Engine(
        settings.run_threads or run_threads(cpus),
        settings.max_queued_images,
        settings.max_image_pixels,
        ledger,
        loader.load_now,
    )
    decode_pool = DecodePool(
        settings.decode_threads or decode_threads(cpus),
        settings.max_queued_images,
        settings.max_image_pixels,
        settings.max_decoding_pixels,
    )

    connections = Connections(most_connections(settings.max_connections, limit()))
    sampler = Sampler(settings.sample_gradients, engine, decode_pool)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        loader.start()
        try:
            yield
        finally:
            sampler.stop()
            loader.stop()
            await engine.stop()
            decode_pool.close()

    app = FastAPI(
        title="Contraflow",
        servers=SERVERS,
        openapi_url=None,  # `routes.pages` has it
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    endpoint = PredictEndpoint(registry, engine, decode_pool, sampler, runtime, settings)
    state = app.state
    state.settings, state.registry, state.runtime, state.ledger = settings, registry, runtime, ledger
    state.lifecycle, state.engine, state.decode_pool, state.loader = lifecycle, engine, decode_pool, loader
    state.predict, state.sampler, state.access, state.connections = endpoint, sampler, access, connections
    state.openapi_document = OpenApiDocument(app, registry, needs_key=bool(settings.api_keys))
    state.metrics = metrics_registry(ledger, connections, engine, registry, loader, runtime, sampler)
    state.addresses = Addresses([*app.routes, *[route for router in ROUTERS for route in router.routes]])
    for router in ROUTERS:
        app.include_router(router)
    for error in (ServiceError, ImageError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _answer_error)
    return Gateway(app, endpoint, state.addresses, settings, access, ledger, lifecycle, connections)


async def _answer_error(request: Request, error: Exception) -> Response:
    """Every error, also the framework's own, in our one shape."""
    path = request.url.path
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        error = InvalidParameter(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
    elif isinstance(error, HTTPException):
        error = routing_error(error.status_code, path, request.app.state.addresses)
    status, headers, body = error_answer(error, path, request.state.context.id)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
