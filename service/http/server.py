"""The server, and how it shuts down.

On SIGTERM (or SIGINT) readiness becomes false. For `drain_delay` seconds requests are still answered, because an
orchestrator goes on routing here for a while; every answer then says `Connection: close`. After that no connection is
accepted, requests in flight are finished, and the process ends with status 0. A second signal ends it at once.
systemd is told when connections are taken and when the drain begins, if it started the process (`Type=notify`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Literal

import uvicorn

from service.http.calls.gateway import Gateway
from service.http.connection.client_connection import ClientConnection
from service.http.listening.systemd import notify
from service.machine.descriptors import backlog, limit

log = logging.getLogger("contraflow.server")

SHUTDOWN_SIGNALS = (signal.SIGTERM, signal.SIGINT)

SAME_SIGNAL = 0.2
"""A second signal within this many seconds counts as the first: a process group is often signalled twice."""

METRICS_GRACE = 1.0
"""Seconds for scrapes in flight, after the last prediction is answered."""


class PortServer(uvicorn.Server):
    """Runs uvicorn with our HTTP protocol on one port."""

    def __init__(self, gateway: Gateway, backlog: int, grace: float, lifespan: Literal["on", "off"]) -> None:
        """`backlog` is how many connections may wait to be accepted, `grace` the seconds for requests at the end."""
        settings = gateway.service.settings
        attributes = {
            "gateway": gateway,
            "max_head_bytes": settings.max_header_bytes,
            "head_timeout": settings.request_timeout,
            "path_prefix": settings.root_path,
            "proxies": gateway.service.proxies,
        }
        super().__init__(
            uvicorn.Config(
                gateway,
                http=type("GatewayConnection", (ClientConnection,), attributes),
                ws="none",
                lifespan=lifespan,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=int(settings.keep_alive),
                timeout_graceful_shutdown=int(grace) or 1,
                backlog=backlog,
            )
        )
        self._connections = gateway.service.connections

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections once a second; uvicorn calls this ten times a second."""
        if counter % 10 == 0:
            now = time.monotonic()
            self._connections.tick(now, len(self.server_state.connections))
            for connection in list(self.server_state.connections):
                if isinstance(connection, ClientConnection):
                    connection.close_if_slow(now)
        return await super().on_tick(counter)


class MetricsServer(PortServer):
    """The port for metrics. Its connections are its own: those who scrape and those who predict take none away."""

    def __init__(self, gateway: Gateway, sockets: Sequence[socket.socket]) -> None:
        super().__init__(gateway, gateway.service.connections.most, METRICS_GRACE, lifespan="off")
        self._sockets = list(sockets)

    async def begin(self) -> None:
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(self._sockets)

    async def end(self) -> None:
        await self.shutdown(self._sockets)


class HttpServer(PortServer):
    """The port of the service, with a graceful shutdown; it begins and ends the port for metrics, if there is one."""

    def __init__(self, gateway: Gateway, metrics_sockets: Sequence[socket.socket] = ()) -> None:
        """`metrics_sockets` are for `gateway.metrics`."""
        service = gateway.service
        settings, most = service.settings, service.connections.most
        super().__init__(gateway, backlog(most, limit()), settings.shutdown_grace, lifespan="on")
        self._metrics: MetricsServer | None = None
        if metrics_sockets and gateway.metrics is not None:
            self._metrics = MetricsServer(gateway.metrics, metrics_sockets)
        self._lifecycle = service.lifecycle
        self._drain_delay = settings.drain_delay
        self._shutdown_since: float | None = None

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Take connections, and tell systemd."""
        if self._metrics is not None:
            await self._metrics.begin()
        await super().startup(None if sockets is None else list(sockets))
        notify(os.environ, "READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self._metrics is not None:
            await self._metrics.end()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals in place of uvicorn, which would close the listening socket first."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in SHUTDOWN_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in SHUTDOWN_SIGNALS:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        now = time.monotonic()
        if self._shutdown_since is not None:
            if now - self._shutdown_since > SAME_SIGNAL:
                log.warning("second signal: ending at once")
                logging.shutdown()  # writes what waits in the log
                os._exit(128 + number)
            return
        self._shutdown_since = now
        log.info("draining for %g s", self._drain_delay)
        self._lifecycle.draining = True
        notify(os.environ, "STOPPING=1")
        asyncio.get_running_loop().call_later(self._drain_delay, self._close)

    def _close(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections of both ports."""
        if self._metrics is not None:
            await self._metrics.on_tick(counter)
        return await super().on_tick(counter)
