"""What a shadow answers, as Prometheus metrics. Without a shadow they have no series."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.monitoring.shadow.answers import WINDOW
from service.monitoring.shadow.shadowing import Shadowing

LABELS = ("model", "version")
"""Those of the shadow."""


class ShadowCollector(Collector):
    """Counts of the pair that is compared; with the next pair they begin anew."""

    def __init__(self, shadowing: Shadowing | None) -> None:
        self._shadowing = shadowing

    def collect(self) -> Iterable[Metric]:
        images = CounterMetricFamily(
            "contraflow_shadow_images",
            "Live images drawn for the shadow, by what became of them",
            labels=(*LABELS, "outcome"),
        )
        disagreements = CounterMetricFamily(
            "contraflow_shadow_disagreements", "Compared images that the shadow gives other labels", labels=LABELS
        )
        comparing = GaugeMetricFamily(
            "contraflow_shadow_comparing",
            "1 while images can be compared; /diagnostics/shadow says why not",
            labels=LABELS,
        )
        share = GaugeMetricFamily(
            "contraflow_shadow_disagreement_share", f"Share of the last {WINDOW} compared images", labels=LABELS
        )
        at_least = GaugeMetricFamily(
            "contraflow_shadow_disagreement_share_at_least",
            "Lower end of the 95 % interval of that share",
            labels=LABELS,
        )
        difference = GaugeMetricFamily(
            "contraflow_shadow_probability_difference",
            f"Mean difference in the probability of the answered label, over the last {WINDOW} compared images",
            labels=LABELS,
        )
        moved = GaugeMetricFamily(
            "contraflow_shadow_layers_moved",
            "Layers whose gradient differs by a factor of two or more",
            labels=LABELS,
        )
        if self._shadowing is not None:
            name, _, version = self._shadowing.name.partition("@")
            values = (name, version)
            comparing.add_metric(values, float(self._shadowing.reason is None))
            record = self._shadowing.record
            if record is not None:
                for outcome, count in record.answers.counts.items():
                    images.add_metric((*values, outcome), count)
                disagreements.add_metric(values, record.answers.disagreements)
                last, layers = record.answers.of_last(), record.layers.found()
                if last.disagreements is not None:
                    share.add_metric(values, last.disagreements.share)
                    at_least.add_metric(values, last.disagreements.low)
                if last.mean_difference is not None:
                    difference.add_metric(values, last.mean_difference)
                if layers is not None:
                    moved.add_metric(values, len(layers.moved))
        return images, disagreements, comparing, share, at_least, difference, moved
