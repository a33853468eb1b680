"""Reads in the variables `OTEL_*` what they ask for, by the specification of OpenTelemetry.

One thing differs: as long as none of them names an exporter or a collector, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Signal = Literal["traces", "metrics"]
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics")

OTLP_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""Protocol → the name under which a package brings an exporter that speaks it."""

NOT_SENT: Final = {"none", "prometheus"}
"""Exporters for which nothing is to be done: `/metrics` is always there."""

UNDERSTOOD: Final = {"tracecontext", "baggage", "none"}
"""Values of `OTEL_PROPAGATORS` that are obeyed. Baggage is read by nobody here, and sent to nobody."""

TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


class NotUnderstood(Exception):
    """A variable has a value that means nothing here; the message names both."""


@dataclass(frozen=True)
class Wanted:
    """Says what is to be sent, and by what."""

    exporters: Mapping[Signal, tuple[str, ...]]
    """Names of exporters, as packages register them."""
    named_by: str
    """The variable because of which anything is sent."""
    reads_traceparent: bool
    """True if the caller's trace is continued."""
    not_obeyed: tuple[str, ...]
    """Sentences about what is asked for besides and is not done."""


def wanted(environment: Mapping[str, str]) -> Wanted | None:
    """Return what the variables ask for, or None for nothing; a variable that is empty counts as not set.

    Raises:
        NotUnderstood: a protocol is none that there is an exporter for.
    """
    given = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    if given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    exporters = {signal: names for signal in SIGNALS if (names := _exporters(signal, given))}
    if not exporters:
        return None
    propagators = {name.strip() for name in given.get("OTEL_PROPAGATORS", "tracecontext,baggage").split(",")}
    return Wanted(
        exporters,
        next(name for signal in exporters for name in _naming(signal) if name in given),
        "tracecontext" in propagators,
        tuple(_not_obeyed(given, propagators)),
    )


def _not_obeyed(given: Mapping[str, str], propagators: set[str]) -> Iterator[str]:
    for name in sorted(propagators - UNDERSTOOD):
        yield f"OTEL_PROPAGATORS: {name} is not read; the header traceparent is, by tracecontext"
    preferred = given.get(TEMPORALITY, "cumulative")
    if preferred.lower() != "cumulative":
        yield f"{TEMPORALITY}: {preferred} is not obeyed; all counts are cumulative"


def _naming(signal: Signal) -> tuple[str, ...]:
    """Return the variables that turn a signal on, the one that counts most first."""
    return (
        f"OTEL_{signal.upper()}_EXPORTER",
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    )


def _exporters(signal: Signal, given: Mapping[str, str]) -> tuple[str, ...]:
    if not any(name in given for name in _naming(signal)):
        return ()
    names = [name.strip() for name in given.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").split(",")]
    chosen = [_otlp(signal, given) if name == "otlp" else name for name in names if name and name not in NOT_SENT]
    return tuple(dict.fromkeys(chosen))


def _otlp(signal: Signal, given: Mapping[str, str]) -> str:
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if (protocol := given.get(name)) is not None:
            if protocol not in OTLP_EXPORTERS:
                raise NotUnderstood(f"{name}: {protocol!r} is none of {', '.join(OTLP_EXPORTERS)}")
            return OTLP_EXPORTERS[protocol]
    return OTLP_EXPORTERS["http/protobuf"]
