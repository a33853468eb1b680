"""Puts the service together: every part is made here and passed to those that need it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute
from starlette.types import Lifespan

from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.bundles.source import FolderSource, Source
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import CPU
from service.engine.decoding import DecodePool
from service.engine.engine import Engine
from service.engine.ledger import Ledger
from service.http.calls.access import Access
from service.http.calls.addresses import Addresses
from service.http.calls.cross_origin import CrossOrigin
from service.http.calls.deadlines import Deadlines
from service.http.calls.gateway import Gateway
from service.http.calls.lifecycle import Lifecycle
from service.http.calls.service_parts import ServiceParts
from service.http.documentation.document import OpenApiDocument, operation_id
from service.http.keys.following import KeysFile
from service.http.keys.ring import KeyRing
from service.http.requests.bodies import SMALL_BODY, BodyReader
from service.http.requests.forwarded import TrustedProxies
from service.http.routes import (
    diagnostics,
    health,
    metrics,
    models,
    open_inference,
    predict,
    repository,
)
from service.http.routes.explanations import explain, v1
from service.http.routes.pages import guide, page, verdicts
from service.http.starting import opened_keys
from service.machine.connections import Connections
from service.machine.cpu_limit import available_cpus, decode_threads, run_threads
from service.machine.descriptors import limit, most_connections
from service.machine.memory_limit import memory_left, memory_limit
from service.monitoring.metrics import metrics_registry
from service.monitoring.recorders import Recorders
from service.monitoring.sampling import Sampler
from service.monitoring.shadow.collector import ShadowCollector
from service.monitoring.shadow.shadowing import Shadowing
from service.monitoring.telemetry.telemetry import Telemetry
from service.settings.fields import Settings, within_memory

ROUTERS: tuple[APIRouter, ...] = (
    predict.router,
    diagnostics.router,
    explain.router,
    diagnostics.of_shadow,
    models.router,
    health.router,
    verdicts.router,
    page.router,
    guide.router,
    metrics.router,
    open_inference.router,
    repository.router,
    repository.by_name,
    v1.router,
)

METRICS_ROUTERS: tuple[APIRouter, ...] = (metrics.router, health.router)
"""Endpoints of the port `metrics_port`."""

RUNS_ON_A_GPU = 2
"""One run decodes, copies and hands out while the other computes; a third would only wait for the same GPU."""

MOST_METRICS_CONNECTIONS = 32
"""Connections to that port: enough for whoever scrapes, and too few to take anything from those who predict."""


def create_app(
    settings: Settings,
    runtime: Runtime | None = None,
    sources: Sequence[Source] | None = None,
    telemetry: Telemetry | None = None,
) -> Gateway:
    """Make the service; the lifespan of the application that is returned loads the bundles and ends the threads.

    Without `sources`, each path of `settings.bundles` is a folder of bundles.

    Raises:
        ProviderUnavailable: `settings.execution_provider` is a GPU that cannot be used.
        OSError: nothing can be written to the folder `settings.capture`.
        StartError: the file of keys cannot be read.
    """
    settings = within_memory(settings, memory_limit())
    cpus = available_cpus()
    registry = Registry(
        settings.default_model, is_explicit=settings.model_control == "explicit", shadow=settings.shadow
    )
    ledger = Ledger()
    slots = settings.run_threads or run_threads(cpus)
    runtime = runtime or Runtime(
        settings.execution_provider,
        settings.gpu_memory_limit,
        most_threads=min(slots, run_threads(cpus)),
        memory_left=memory_left,
    )
    loader = _loader(settings, sources, registry, runtime)
    engine = Engine(
        slots if runtime.provider == CPU or settings.run_threads else RUNS_ON_A_GPU,
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
    shadowing = _shadowing(settings, registry, engine, decode_pool)
    ring, keys_file = opened_keys(settings)
    access = Access(ring)
    shown = metrics_registry(ledger, connections, engine, registry, loader, runtime, sampler, ring)
    shown.register(ShadowCollector(shadowing))
    recorders = Recorders(settings, telemetry)
    routers = [router for router in ROUTERS if settings.metrics_port is None or router is not metrics.router]
    left_out = [
        *([] if registry.is_explicit else [repository.by_name]),
        *([] if settings.shadow else [diagnostics.of_shadow]),
    ]
    described = _described(routers, left_out)
    service = ServiceParts(
        settings=settings,
        lifecycle=Lifecycle(),
        registry=registry,
        loader=loader,
        runtime=runtime,
        engine=engine,
        decode_pool=decode_pool,
        sampler=sampler,
        shadowing=shadowing,
        ledger=ledger,
        metrics=shown,
        connections=connections,
        addresses=_addresses(routers),
        access=access,
        cross_origin=CrossOrigin(settings.cors_origins) if settings.cors_origins else None,
        proxies=TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None,
        bodies=BodyReader(settings.max_body_bytes, settings.max_body_bytes_in_flight, settings.request_timeout),
        deadlines=Deadlines(settings.deadline_ms / 1e3),
        begin_trace=recorders.begin_trace,
        observers=recorders.observers,
        openapi_document=OpenApiDocument(described, registry, settings, access).now,
    )
    for_metrics = None if settings.metrics_port is None else Gateway(_for_metrics(service))
    return Gateway(service, _lifespan(service, recorders, keys_file), for_metrics)


def _loader(settings: Settings, sources: Sequence[Source] | None, registry: Registry, runtime: Runtime) -> Loader:
    return Loader(
        [FolderSource(path) for path in settings.bundles] if sources is None else sources,
        registry,
        runtime,
        max_batch=settings.max_batch,
        warm_up=settings.warm_up,
        diagnostics_at_start=settings.diagnostics_at_start,
        poll_seconds=settings.bundle_poll_seconds,
        load_models=settings.load_models,
    )


def _shadowing(settings: Settings, registry: Registry, engine: Engine, decode_pool: DecodePool) -> Shadowing | None:
    if settings.shadow is None:
        return None
    share, gradients = settings.shadow_share, settings.shadow_gradients
    return Shadowing(settings.shadow, share, gradients, registry, engine, decode_pool)


def _lifespan(service: ServiceParts, recorders: Recorders, keys_file: KeysFile | None) -> Lifespan[Any]:
    """Return the context in which the service serves: the threads work within it, and end with it."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        service.engine.start()
        service.loader.start()
        recorders.start(service.metrics)
        if keys_file is not None:
            keys_file.start()
        try:
            yield
        finally:
            if keys_file is not None:
                keys_file.stop()
            service.sampler.stop()
            if service.shadowing is not None:
                service.shadowing.stop()
            service.loader.stop()
            await service.engine.stop()
            service.decode_pool.close()
            await recorders.stop()

    return lifespan


def _for_metrics(service: ServiceParts) -> ServiceParts:
    """Return the service as the port for metrics alone has it: no key, few connections, and hardly a body."""
    return replace(
        service,
        addresses=_addresses(METRICS_ROUTERS),
        access=Access(KeyRing()),
        cross_origin=None,
        connections=Connections(MOST_METRICS_CONNECTIONS),
        bodies=BodyReader(SMALL_BODY, SMALL_BODY, service.settings.request_timeout),
    )


def _described(routers: Iterable[APIRouter], left_out: Sequence[APIRouter]) -> list[BaseRoute]:
    """Return the routes for the OpenAPI document, without those that the settings make no use of."""
    every = APIRouter(generate_unique_id_function=operation_id)
    for router in routers:
        every.include_router(router, include_in_schema=router not in left_out)
    return every.routes


def _addresses(routers: Iterable[APIRouter]) -> Addresses:
    return Addresses(route for router in routers for route in router.routes)
