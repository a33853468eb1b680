"""The parts of one running service, in one object that every call carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.contract.runtime.opening import Runtime
from service.engine.decoding import DecodePool
from service.engine.engine import Engine
from service.engine.ledger import Ledger
from service.http.calls.access import Access
from service.http.calls.addresses import Addresses
from service.http.calls.cross_origin import CrossOrigin
from service.http.calls.deadlines import Deadlines
from service.http.calls.lifecycle import Lifecycle
from service.http.requests.bodies import BodyReader
from service.http.requests.forwarded import TrustedProxies
from service.machine.connections import Connections
from service.monitoring.finished_request import BeginTrace, FinishedRequest, Observer
from service.monitoring.sampling import Sampler
from service.monitoring.shadow.shadowing import Shadowing
from service.settings.fields import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """Made by `create_app`; nothing in it is replaced while the service runs."""

    settings: Settings
    lifecycle: Lifecycle
    registry: Registry
    loader: Loader
    runtime: Runtime
    engine: Engine
    decode_pool: DecodePool
    sampler: Sampler
    shadowing: Shadowing | None = None
    """None if no shadow is set."""
    ledger: Ledger
    metrics: CollectorRegistry
    connections: Connections
    addresses: Addresses
    access: Access
    cross_origin: CrossOrigin | None = None
    """Answers pages of other origins; None if none may call."""
    proxies: TrustedProxies | None = None
    """None if no proxy is trusted."""
    bodies: BodyReader
    deadlines: Deadlines
    begin_trace: BeginTrace | None = None
    observers: tuple[Observer, ...] = ()
    """Called with every finished request."""
    openapi_document: Callable[[], dict[str, Any]]

    def observe(self, finished: FinishedRequest) -> None:
        """Show a finished request to every observer."""
        for observe in self.observers:
            observe(finished)
