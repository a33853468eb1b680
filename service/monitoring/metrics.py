"""The service's counts and states as Prometheus metrics, collected only when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.contract.runtime.opening import Runtime
from service.engine.engine import Engine
from service.engine.ledger import Histogram, Ledger
from service.machine.connections import Connections
from service.monitoring.live import WINDOW
from service.monitoring.sampling import Sampler


class ApiKeys(Protocol):
    """The keys that are valid now."""

    errors: int
    """Looks that found their file unreadable or broken."""

    def __len__(self) -> int: ...


class ServiceCollector(Collector):
    """Metrics of requests, runs, queue, models and sampled gradients of one service."""

    def __init__(
        self, ledger: Ledger, connections: Connections, engine: Engine, registry: Registry, loader: Loader,
        runtime: Runtime, sampler: Sampler, keys: ApiKeys,
    ) -> None:  # fmt: skip
        self._connections = connections
        self._ledger, self._engine, self._registry, self._runtime = ledger, engine, registry, runtime
        self._loader, self._sampler = loader, sampler
        self._keys = keys

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._ended_connections()
        yield from self._runs()
        yield from self._state()
        yield from self._api_keys()
        yield from self._gradients()

    def _requests(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "contraflow_requests",
            "Requests by their outcome; model and version are empty where there is none or several",
            labels=("route", "outcome", "status", "model", "version"),
        )
        for (route, outcome, status, full_name), count in tuple(self._ledger.by_status.items()):
            model, _, version = full_name.partition("@")
            requests.add_metric((route, outcome, str(status), model, version), count)
        latency = HistogramMetricFamily(
            "contraflow_request_duration_seconds",
            "From the last byte of the body until the answer is handed over",
            labels=("route",),
        )
        for route, histogram in tuple(self._ledger.latency.items()):
            _add(latency, (route,), histogram)
        stages = HistogramMetricFamily(
            "contraflow_request_stage_seconds", "The parts of a request's duration", labels=("stage",)
        )
        for stage, histogram in self._ledger.stages.items():
            _add(stages, (stage,), histogram)
        return requests, latency, stages

    def _ended_connections(self) -> Iterable[Metric]:
        ended = CounterMetricFamily(
            "contraflow_connections_ended", "Connections that the service closed, by the reason", labels=("reason",)
        )
        for reason, count in tuple(self._connections.ended.items()):
            ended.add_metric((reason,), count)
        limit = GaugeMetricFamily(
            "contraflow_connections_limit", "Most connections that may be open", self._connections.most
        )
        return ended, GaugeMetricFamily("contraflow_connections", "Connections open", self._connections.open), limit

    def _runs(self) -> Iterable[Metric]:
        labels = ("model", "version", "graph")
        images = CounterMetricFamily("contraflow_images", "Images run, by graph", labels=labels)
        stopped = CounterMetricFamily(
            "contraflow_runs_stopped",
            "Runs stopped because all clients had gone, or a request came that they held up",
            labels=labels,
        )
        wide = CounterMetricFamily(
            "contraflow_runs_wide", "Runs that took every core because nothing else ran or waited", labels=labels
        )
        seconds = HistogramMetricFamily("contraflow_run_duration_seconds", "One run of a graph", labels=labels)
        sizes = HistogramMetricFamily("contraflow_batch_size", "Images in one run", labels=labels)
        for (model, graph), tally in tuple(self._ledger.tallies.items()):
            values = (*model.split("@"), graph)
            images.add_metric(values, tally.images)
            stopped.add_metric(values, tally.stopped)
            wide.add_metric(values, tally.wide)
            _add(seconds, values, tally.seconds)
            _add(sizes, values, tally.batch_size)
        return images, stopped, wide, seconds, sizes

    def _state(self) -> Iterable[Metric]:
        scheduler = self._engine.scheduler
        yield GaugeMetricFamily("contraflow_queued_images", "Images waiting for a run", scheduler.waiting_images)
        yield GaugeMetricFamily("contraflow_runs_in_progress", "Runs in progress", scheduler.running)
        yield GaugeMetricFamily(
            "contraflow_expected_wait_seconds",
            "Seconds until a prediction sent now would run",
            scheduler.expected_wait(False),
        )
        ready = GaugeMetricFamily("contraflow_model_ready", "1 while the model predicts", labels=("model", "version"))
        for model in self._registry.models():
            ready.add_metric((model.name, model.version), float(model.ready))
        yield ready
        yield GaugeMetricFamily(
            "contraflow_bundles_refused", "Bundles in the folder that are not served", len(self._registry.refused)
        )
        yield GaugeMetricFamily(
            "contraflow_bundles_unavailable",
            "Bundles and folders that cannot be read or loaded now; what was served from them stays in service",
            len(self._registry.unavailable),
        )
        yield CounterMetricFamily(
            "contraflow_loader_errors", "Rounds of loading bundles that ended by an exception", self._loader.errors
        )
        chosen = self._runtime.chosen
        gpu = {"gpu": "" if chosen.gpu is None else str(chosen.gpu), "card": chosen.card or ""}
        provider = {"execution_provider": chosen.name, "reason": chosen.reason, **gpu}
        yield InfoMetricFamily("contraflow_execution_provider", "Where the graphs run", provider)

    def _api_keys(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("contraflow_api_keys", "API keys that are valid; 0: open to all", len(self._keys))
        yield CounterMetricFamily(
            "contraflow_api_keys_file_errors",
            "Looks, one a second, that found the file of API keys unreadable or broken; the keys before stay valid",
            self._keys.errors,
        )

    def _gradients(self) -> Iterable[Metric]:
        """Return one series per layer of each served model; a model that is no longer served has none."""
        sampled = CounterMetricFamily(
            "contraflow_sampled_gradients",
            "Live images drawn to measure their gradients, by what became of them",
            labels=("model", "version", "outcome"),
        )
        labels = ("model", "version", "layer")
        median = GaugeMetricFamily(
            "contraflow_layer_gradient",
            f"scaled_gradient_norm / ‖dL/dlogits‖, median of the last {WINDOW} sampled images; of an int8 model, in "
            "the float network that it stands for",
            labels=labels,
        )
        ratio = GaugeMetricFamily(
            "contraflow_layer_gradient_to_baseline",
            "That median divided by the one of the training images",
            labels=labels,
        )
        outside = GaugeMetricFamily(
            "contraflow_layer_gradient_outside_share",
            f"Share of the last {WINDOW} sampled images outside the range of the training images",
            labels=labels,
        )
        distance = GaugeMetricFamily(
            "contraflow_layer_norm_distance",
            f"layer_norm_distance / √layers, median of the last {WINDOW} sampled images: about 1 on images like "
            "the training's",
            labels=labels[:2],
        )
        for model in self._registry.models():
            live = self._sampler.live.get(model)
            if live is None:
                continue
            values = (model.name, model.version)
            for outcome, count in live.counts.items():
                sampled.add_metric((*values, outcome), count)
            if live.distance is not None:
                distance.add_metric(values, live.distance)
            for layer in live.layers():
                median.add_metric((*values, layer.name), layer.median)
                if layer.baseline is not None:
                    ratio.add_metric((*values, layer.name), layer.ratio)
                    outside.add_metric((*values, layer.name), layer.baseline.outside_share)
        return sampled, distance, median, ratio, outside


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
    family.add_metric(labels, buckets=histogram.buckets(), sum_value=histogram.total)


def metrics_registry(
    ledger: Ledger, connections: Connections, engine: Engine, registry: Registry, loader: Loader,
    runtime: Runtime, sampler: Sampler, keys: ApiKeys,
) -> CollectorRegistry:  # fmt: skip
    """Return a registry with the metrics of this service and of its process: memory, CPU, descriptors."""
    collectors = CollectorRegistry()
    collectors.register(ServiceCollector(ledger, connections, engine, registry, loader, runtime, sampler, keys))
    ProcessCollector(registry=collectors)
    PlatformCollector(registry=collectors)
    return collectors
