"""Every metric that Prometheus, Grafana and the autoscaler ask for is one that the service exports."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from service.app import create_app
from service.settings.fields import Settings
from tests.deploy.dashboard import DASHBOARD, queries
from tests.deploy.manifests import ROOT, read_documents
from tests.programs import needs

PROMETHEUS = ROOT / "deploy" / "prometheus"


def metric_names(text: str) -> set[str]:
    """Return our metrics in a text of queries, without the suffixes of histograms and counters."""
    found = re.findall(r"\bcontraflow_[a-z_]+\b", text)
    return {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in found}


@pytest.mark.parametrize(
    "path",
    [
        "prometheus/rules.yml",
        "grafana/dashboards/contraflow.json",
        "kubernetes/components/queue-time/metric.yaml",
        "kubernetes/components/keda/scaled-object.yaml",
    ],
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


def test_the_rules_for_kubernetes_are_those_for_prometheus() -> None:
    """`make rules` writes the one from the other."""
    (rule,) = read_documents(ROOT / "deploy" / "kubernetes" / "components" / "monitoring" / "prometheus-rule.yaml")
    assert rule["spec"] == yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))


@needs("promtool")
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "--lint-fatal", str(PROMETHEUS / "prometheus.yml")],
        ["test", "rules", str(ROOT / "tests" / "deploy" / "alerts.yml")],
    ],
    ids=["configuration", "alerts"],
)
def test_promtool_finds_nothing_and_alerts_fire_when_they_should(arguments: list[str], tmp_path: Path) -> None:
    """From any folder: the configuration's own paths are relative to where it lies."""
    done = subprocess.run(["promtool", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("promtool")
def test_promtool_would_find_an_alert_that_does_not_fire(tmp_path: Path) -> None:
    """The same alerts, tried on rules of which one has gone."""
    rules = (PROMETHEUS / "rules.yml").read_text(encoding="utf-8")
    (tmp_path / "rules.yml").write_text(rules.replace("contraflow_loader_errors_total", "contraflow_nothing_total"))
    alerts = (ROOT / "tests" / "deploy" / "alerts.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yml").write_text(alerts.replace("../../deploy/prometheus/", ""))
    command = ["promtool", "test", "rules", str(tmp_path / "alerts.yml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
