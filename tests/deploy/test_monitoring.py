"""Every metric that Prometheus, Grafana and the autoscaler ask for is one that the service exports."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from service.app import create_app
from service.settings.fields import Settings
from tests.deploy.dashboard import DASHBOARD, queries
from tests.deploy.manifests import ROOT
from tests.programs import needs


def metric_names(text: str) -> set[str]:
    """Return our metrics in a text of queries, without the suffixes of histograms and counters."""
    found = re.findall(r"\bcontraflow_[a-z_]+\b", text)
    return {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in found}


@pytest.mark.parametrize(
    "path",
    ["prometheus/rules.yml", "grafana/dashboards/contraflow.json", "kubernetes/components/queue-time/metric.yaml"],
)
def test_every_metric_that_is_looked_at_is_one_that_the_service_counts(path: str) -> None:
    served = {metric.name for metric in create_app(Settings()).service.metrics.collect()}
    looked_at = metric_names((ROOT / "deploy" / path).read_text(encoding="utf-8"))
    assert looked_at
    assert looked_at <= served


def test_every_query_of_the_dashboard_can_be_asked_of_prometheus_as_it_is() -> None:
    asked = queries()
    assert len(asked) > 10
    for panel, query in asked:
        assert "$" not in query, panel


def test_no_two_panels_of_the_dashboard_lie_on_each_other() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@needs("promtool")
def test_promtool_finds_nothing_in_the_rules() -> None:
    command = ["promtool", "check", "rules", str(ROOT / "deploy" / "prometheus" / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
