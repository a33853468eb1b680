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
from service.output.logs import logging_to_standard_error
from service.settings.fields import DEFAULT_BUNDLES, Settings
from service.settings.reading import SettingsError, names_of_setting, read_settings
from service.sources.arriving import wait_for_models
from service.sources.cache import users_cache
from service.sources.flags import IncompleteFlag, split_flags
from service.sources.kinds import SourceError
from service.sources.opening import open_sources

log = logging.getLogger("contraflow.server")

COMMANDS = {
    "check": "service.offline.check",
    "diagnose": "service.offline.diagnose",
    "explain": "service.client.explain",
    "replay": "service.client.replay.command",
    "key": "service.http.keys.making",
}
"""Commands that run without a server → the module of each."""


def main(arguments: Sequence[str], program: str = "python -m service") -> int:
    """Run one of `COMMANDS`, or serve; return the exit status. `program` is what was typed before the arguments."""
    if arguments and arguments[0] in COMMANDS:
        return run(arguments[0], arguments[1:], f"{program} {arguments[0]}")
    return run("serve", arguments, program)


def run(verb: str, arguments: Sequence[str], program: str) -> int:
    """Run `serve` until told to stop, or one of `COMMANDS`; `program` is what was typed for the verb."""
    if verb == "serve":
        return ended_in_words(lambda: start(arguments, program))
    return ended_in_words(lambda: int(import_module(COMMANDS[verb]).main(arguments, program)))


def start(arguments: Sequence[str], program: str) -> int:
    """Read the settings and serve; return 2, with the reason in one line, if that cannot be done."""
    try:
        words, import_flags = split_flags(arguments)
        settings, warnings = read_settings(os.environ, words, program)
    except (IncompleteFlag, SettingsError) as error:
        complain(str(error))
        return 2
    from service.contract.runtime.provider import ProviderUnavailable
    from service.http.starting import StartError

    try:
        with logging_to_standard_error(settings.log_level, settings.log_format):
            for warning in warnings:
                log.warning("%s", warning)
            return serve(settings, import_flags)
    except (SourceError, StartError, ProviderUnavailable, OSError) as error:
        complain(str(error))
        return 2


def serve(settings: Settings, import_flags: Sequence[str] = ()) -> int:
    """Bind the address, import what is no bundle, listen, serve, and return when the last request is answered.

    Raises:
        SourceError, StartError, ProviderUnavailable: the service cannot start with these settings.
    """
    from service.monitoring.telemetry.starting import taken_from, telemetry

    telemetry_variables = taken_from(os.environ)

    from service.app import create_app
    from service.contract.runtime.provider import CPU
    from service.http.listening.listeners import bound, bound_for_metrics
    from service.http.server import HttpServer
    from service.http.starting import opened_keys
    from service.machine.descriptors import raise_limit
    from service.machine.memory import bound_fragmentation

    if settings.bundles == DEFAULT_BUNDLES and not os.path.lexists(DEFAULT_BUNDLES[0]):
        raise SourceError(
            f"there is nothing to serve: name an .onnx file, the folder of a model, a bundle or a folder of bundles, "
            f"as an argument or by {names_of_setting('bundles')}; the default, {DEFAULT_BUNDLES[0]}, is not here"
        )
    opened_keys(settings)  # what is wrong with them, or an address that is taken, is found before anything is imported
    with bound(settings) as listeners, bound_for_metrics(settings) as metrics_listeners:
        cache = settings.cache or users_cache(os.environ)
        say = logging.getLogger("contraflow.import").info
        wait_for_models(settings.bundles, os.environ, say)
        sources = open_sources(settings.bundles, import_flags, cache, say)
        bound_fragmentation()
        raise_limit()
        gateway = create_app(settings, sources=sources, telemetry=telemetry(telemetry_variables))
        service = gateway.service
        runtime, connections = service.runtime, service.connections
        # What exists now stays. A full garbage collection that skips it takes microseconds instead of 25 ms.
        gc.collect()
        gc.freeze()
        listeners.begin()
        metrics_listeners.begin()
        for address in listeners.addresses():
            log.info("address: %s", address)
        for address in metrics_listeners.addresses():
            log.info("metrics: %s/metrics, without a key", address)
        report = log.info if runtime.provider != CPU or settings.execution_provider == "cpu" else log.warning
        report("execution provider: %s", runtime.chosen)
        log.info("sources: %s", ", ".join(os.path.abspath(path) for path in settings.bundles))
        if connections.most < settings.max_connections:
            log.warning("connections: %d at most, because of the limit of open files", connections.most)
        server = HttpServer(gateway, metrics_listeners.sockets)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=listeners.sockets))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
