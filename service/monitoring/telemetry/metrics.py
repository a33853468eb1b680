"""The metrics of the Prometheus client as OpenTelemetry's, by the specification of their compatibility.

A collector that offers them to Prometheus again gives them the names that `/metrics` has. All counts are cumulative.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Final, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric as Family
from prometheus_client.samples import Sample

from service import __version__

UNITS: Final = {"_seconds": "s", "_bytes": "By"}
"""End of a name → unit, in UCUM's words."""

CUMULATIVE: Final = AggregationTemporality.CUMULATIVE

NOT_KNOWN: Final = cast(float, None)
"""The exporters leave it out."""


def metrics_data(families: Iterable[Family], resource: Resource, began: int, now: int) -> MetricsData:
    """Return what an exporter takes; `began` (of the counts) and `now` are nanoseconds of the Unix epoch."""
    metrics = [
        Metric(_name(family), family.documentation, _unit(family.name), _data(family, began, now))
        for family in families
        if family.samples
    ]
    scope = InstrumentationScope("contraflow", __version__)
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def _name(family: Family) -> str:
    """Return the name without the ending of counters and histograms, which say by their type what they are."""
    return family.name if family.type in ("counter", "histogram") else family.samples[0].name


def _unit(name: str) -> str:
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def _data(family: Family, began: int, now: int) -> Sum | Gauge | Histogram:
    if family.type == "histogram":
        return Histogram(list(_distributions(family, began, now)), CUMULATIVE)
    if family.type == "counter":
        total = f"{family.name}_total"
        return Sum(_numbers([one for one in family.samples if one.name == total], began, now), CUMULATIVE, True)
    return Gauge(_numbers(family.samples, began, now))


def _numbers(samples: Iterable[Sample], began: int, now: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(sample.labels, began, now, sample.value) for sample in samples]


def _distributions(family: Family, began: int, now: int) -> Iterator[HistogramDataPoint]:
    """Yield one point for each combination of labels, whose samples follow one another."""
    for _, group in groupby(family.samples, lambda sample: sorted({**sample.labels, "le": ""}.items())):
        samples = list(group)
        buckets = [sample for sample in samples if sample.name == f"{family.name}_bucket"]
        (total,) = [sample.value for sample in samples if sample.name == f"{family.name}_sum"]
        up_to = [int(bucket.value) for bucket in buckets]
        yield HistogramDataPoint(
            attributes={label: value for label, value in buckets[0].labels.items() if label != "le"},
            start_time_unix_nano=began,
            time_unix_nano=now,
            count=up_to[-1],
            sum=total,
            bucket_counts=[above - below for below, above in pairwise([0, *up_to])],
            explicit_bounds=[float(bucket.labels["le"]) for bucket in buckets[:-1]],
            min=NOT_KNOWN,
            max=NOT_KNOWN,
        )
