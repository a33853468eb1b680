"""`python -m service`: reads the settings, starts the server, and logs what it serves and on which processor.

Each function imports what it needs only when it runs, so that a package that is missing is named in one line.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from service.output.console import complain, ended_in_words
from service.output.logs import set_up_logging
from service.settings import Settings, SettingsError, read_settings

log = logging.getLogger("contraflow.server")

COMMANDS = ("check", "diagnose")
"""Commands that run without a server: modules of `service.offline`."""


def main(arguments: Sequence[str], program: str = "python -m service") -> int:
    """Run one of `COMMANDS`, or serve; return the exit status. `program` is what was typed before the arguments."""
    if arguments and arguments[0] in COMMANDS:
        return run(arguments[0], arguments[1:], f"{program} {arguments[0]}")
    return run("serve", arguments, program)


def run(verb: str, arguments: Sequence[str], program: str) -> int:
    """Run `serve` until told to stop, or one of `COMMANDS`; `program` is what was typed for the verb."""
    if verb == "serve":
        return ended_in_words(lambda: start(arguments, program))
    return ended_in_words(lambda: int(import_module(f"service.offline.{verb}").main(arguments, program)))


def start(arguments: Sequence[str], program: str) -> int:
    """Read the settings and serve; return 2, with the reason in one line, if that cannot be done."""
    try:
        settings, warnings = read_settings(os.environ, arguments, program)
    except SettingsError as error:
        complain(str(error))
        return 2
    from service.contract.runtime import ProviderUnavailable
    from service.http.starting import StartError

    try:
        set_up_logging(settings.log_level, settings.log_format)
        for warning in warnings:
            log.warning("%s", warning)
        return serve(settings)
    except (StartError, ProviderUnavailable, OSError) as error:
        complain(str(error))
        return 2


def serve(settings: Settings) -> int:
    """Listen, serve, and return when the last request is answered.

    Raises:
        StartError, ProviderUnavailable: the service cannot start with these settings.
    """
    from service.app import create_app
    from service.contract.runtime import CPU
    from service.http.server import HttpServer, listen
    from service.http.starting import check_bundles_folder
    from service.machine.descriptors import raise_limit
    from service.machine.memory import bound_fragmentation

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
