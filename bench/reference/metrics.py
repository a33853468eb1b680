"""Every Prometheus metric that the service offers, from the registry that /metrics writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, get_args

from prometheus_client.core import Metric

from bench.reference.markdown import cell, code, table_of
from service.app import create_app
from service.contract.bundle_schema import GraphName
from service.engine.ledger import BATCH_SIZES, SECONDS, RequestOutcome
from service.engine.request_context import STAGES
from service.machine.connections import CutOff
from service.monitoring.capture.capturing import Capture
from service.monitoring.live import SampleOutcome
from service.monitoring.shadow.answers import ShadowOutcome
from service.settings.fields import Settings

GROUPS: Final = {
    "Requests": ("contraflow_request",),
    "Connections and keys": ("contraflow_connections", "contraflow_api_keys"),
    "Runs and the queue": (
        "contraflow_images",
        "contraflow_run",
        "contraflow_batch_size",
        "contraflow_queued_images",
        "contraflow_expected_wait",
    ),
    "Models": ("contraflow_model", "contraflow_bundles", "contraflow_loader", "contraflow_execution_provider"),
    "Gradients of live images": ("contraflow_sampled", "contraflow_layer"),
    "Shadow": ("contraflow_shadow",),
    "Capture": ("contraflow_captured",),
    "Process": ("process_", "python_"),
}
"""Heading → how the names of its metrics begin."""

ENDINGS: Final = {"counter": "_total", "histogram": "", "gauge": "", "info": "_info"}
"""Kind of a metric → what its name gets on /metrics."""

UNITS: Final = {"_seconds": "seconds", "_bytes": "bytes"}


def metrics() -> str:
    """Return a table of metrics for each group.

    Raises:
        ValueError: a metric is in no group.
    """
    settings = Settings(shadow="model@2", execution_provider="cpu")
    families = [*create_app(settings, sources=[]).service.metrics.collect(), *_of_capture()]
    starts = tuple(start for group in GROUPS.values() for start in group)
    if odd := [family.name for family in families if not family.name.startswith(starts)]:
        raise ValueError(f"GROUPS has no place for {', '.join(odd)}")
    return "\n\n".join(_blocks(families))


def labels() -> str:
    """Return the table of labels, and the values that each may have."""
    rows = {
        "`route`": "address of the endpoint as [Endpoints](endpoints.md) has it, with `{name}` for a model's name",
        "`outcome` of requests": _values(get_args(RequestOutcome)),
        "`status`": "HTTP status of the answer",
        "`model`, `version`": "name of a bundle, and its version: digits",
        "`stage`": _values(STAGES),
        "`graph`": f"{_values(get_args(GraphName))}: see [Bundle format](bundle-format.md#graphs)",
        "`layer`": "name of a layer, as in `GET /models/{name}`",
        "`reason` of connections": f"{_values(get_args(CutOff))}, or the slug of an error: see [Errors](errors.md)",
        "`outcome` of sampled gradients": _values(get_args(SampleOutcome)),
        "`outcome` of shadow images": _values(get_args(ShadowOutcome)),
        "`outcome` of captured requests": "`written`, `lost`",
    }
    return table_of(("label", "values"), rows.items())


def buckets() -> str:
    """Return the bounds of the histograms' buckets."""
    seconds, sizes = (", ".join(f"{bound:g}" for bound in bounds) for bounds in (SECONDS, BATCH_SIZES))
    return f"- Durations, in seconds: {seconds}.\n- Batch sizes, in images: {sizes}."


def _of_capture() -> Sequence[Metric]:
    """Return the metrics of the capture, which joins the others when a service starts."""
    with TemporaryDirectory() as folder:
        capture = Capture(Path(folder), share=1.0, pictures=False, form="json", most_bytes=2**20)
        return tuple(capture.collect())


def _blocks(families: Sequence[Metric]) -> Iterator[str]:
    for title, starts in GROUPS.items():
        yield f"## {title}"
        yield table_of(
            ("metric", "kind", "labels", "unit", "meaning"),
            (_row(family) for family in families if family.name.startswith(starts)),
        )


def _row(family: Metric) -> tuple[str, ...]:
    kind = family.type
    names = _label_names(family)
    return (
        code(family.name + ENDINGS[kind]),
        kind,
        ", ".join(map(code, names)),
        next((unit for end, unit in UNITS.items() if family.name.endswith(end)), ""),
        cell(family.documentation),
    )


def _label_names(family: Metric) -> Sequence[str]:
    """Return the labels of a metric; those of an info and of the process stand in its one sample alone."""
    declared: Sequence[str] = getattr(family, "_labelnames", ())
    return declared or (list(family.samples[0].labels) if family.samples else [])


def _values(values: Sequence[str]) -> str:
    return ", ".join(map(code, values))
