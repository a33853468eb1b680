"""Makes what sends telemetry, as the variables `OTEL_*` ask for it.

Clusters inject these variables into pods whose services know nothing of OpenTelemetry. So whatever they ask for that
cannot be done is a warning, and the service starts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from service.monitoring.telemetry.telemetry import Telemetry
from service.monitoring.telemetry.wanted import NotUnderstood, Signal, Wanted, wanted
from service.output.extras import how_to_install

log = logging.getLogger("contraflow.telemetry")

PACKAGES = {
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
}
"""Exporter → the package that brings it."""


class NotInstalled(Exception):
    """A package is missing that the telemetry needs; the message names it."""


def taken_from(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Return the variables `OTEL_*`, and have the process name no propagator; before FastAPI is imported.

    FastAPI imports OpenTelemetry's API, which raises where a propagator is named that is not installed. It would be
    used by nobody: `traceparent` is read by `engine/trace_context.py`.
    """
    taken = {name: value for name, value in environment.items() if name.startswith("OTEL_")}
    environment["OTEL_PROPAGATORS"] = "none"
    return taken


def telemetry(environment: Mapping[str, str]) -> Telemetry | None:
    """Return what sends telemetry; None if nothing is asked for, or if it cannot be done, for which there is a warning.

    OpenTelemetry's SDK reads what else it wants to know from the variables of the process.
    """
    try:
        asked = wanted(environment)
        if asked is None:
            return None
        for sentence in asked.not_obeyed:
            log.warning("%s", sentence)
        return _sending(asked)
    except NotUnderstood as error:
        log.warning("no telemetry is sent: %s", error)
    except NotInstalled as error:
        log.warning("%s asks for telemetry, and none is sent: %s", asked and asked.named_by, error)
    except Exception as error:  # of the SDK, about a value of a variable; there is no end to the kinds
        log.warning("no telemetry is sent, because OpenTelemetry cannot be set up by OTEL_*: %s", error)
    return None


def _sending(asked: Wanted) -> Telemetry:
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise NotInstalled(how_to_install("opentelemetry.sdk"))
    found = {signal: [_exporter(signal, name) for name in names] for signal, names in asked.exporters.items()}

    from service.monitoring.telemetry.sending import sending

    return sending(asked, found)


def _exporter(signal: Signal, name: str) -> EntryPoint:
    """Return where the exporter that a package has registered under a name is to be found.

    Raises:
        NotInstalled: no package has registered one.
    """
    found = tuple(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        package = PACKAGES.get(name)
        advice = f"pip install {package}" if package else "no installed package brings it"
        raise NotInstalled(f"there is no exporter {name} of {signal}: {advice}")
    return found[0]
