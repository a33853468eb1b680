"""`python -m service`: reads the settings, starts the server, and logs what it serves and on which processor."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from service.app import create_app
from service.contract.runtime import CPU, ProviderUnavailable
from service.http.server import HttpServer, listen
from service.http.starting import StartError, check_bundles_folder
from service.machine.descriptors import raise_limit
from service.machine.memory import bound_fragmentation
from service.output.console import complain, ended_in_words
from service.output.logs import set_up_logging
from service.settings import Settings, SettingsError, read_settings

log = logging.getLogger("contraflow.server")

COMMANDS = ("check", "diagnose")
"""Commands that run without a server: modules of `service.offline`."""


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop, or run one of `COMMANDS`; return the exit status."""
    if arguments and arguments[0] in COMMANDS:
        command: ModuleType = import_module(f"service.offline.{arguments[0]}")
        return ended_in_words(lambda: int(command.main(arguments[1:])))
    return ended_in_words(lambda: start(arguments))


def start(arguments: Sequence[str]) -> int:
    """Read the settings and serve; return 2, with the reason in one line, if that cannot be done."""
    try:
        settings, warnings = read_settings(os.environ, arguments)
        set_up_logging(settings.log_level, settings.log_format)
        for warning in warnings:
            log.warning("%s", warning)
        return serve(settings)
    except (SettingsError, StartError, ProviderUnavailable, OSError) as error:
        complain(str(error))
        return 2


def serve(settings: Settings) -> int:
    """Listen, serve, and return when the last request is answered.

    Raises:
        StartError, ProviderUnavailable: the service cannot start with these settings.
    """
    check_bundles_folder(settings.bundles)
    bound_fragmentation()
    raise_limit()
    gateway = create_app(settings)
    service = gateway.service
    runtime, connections = service.runtime, service.connections
    # What exists now stays. A full garbage collection that skips it takes microseconds instead of 25 ms.
    gc.collect()
    gc.freeze()
    with listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("address: http://%s:%d", "localhost" if host in ("0.0.0.0", "::") else shown, port)
        report = log.info if runtime.provider != CPU or settings.execution_provider == "cpu" else log.warning
        report("execution provider: %s (%s)", runtime.provider, runtime.reason)
        log.info("bundles: %s", settings.bundles.resolve())
        if connections.most < settings.max_connections:
            log.warning("connections: %d at most, because of the limit of open files", connections.most)
        server = HttpServer(gateway)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
