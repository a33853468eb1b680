"""The compose file's monitoring profile: a real Prometheus scrapes the service and answers the dashboard's queries."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.check.client import ask, free_port, jpeg, wait_until_ready
from deploy.check.engine import Engine
from deploy.check.together import composed
from deploy.check.trial import Trial
from deploy.check.trials import MODEL


def trial_monitoring(engine: Engine, root: Path) -> list[Trial]:
    """Prometheus beside the service, found by name, with our rules; then every expression of the dashboard."""
    service, prometheus = free_port(), free_port()
    ports = {"SERVE_PORT": service, "PROMETHEUS_PORT": prometheus}
    asked = expressions(root / "deploy/grafana/dashboards/contraflow.json")
    empty: list[str] = []

    def all_answered() -> bool:
        """Something of every kind to count, then every query; a rate needs two scrapes, so this is called again."""
        for path in (f"/predict?model={MODEL}", f"/diagnostics/gradients?model={MODEL}", "/predict?model=nowhere"):
            ask(service, "POST", path, jpeg(32, 32))
        empty[:] = [title for title, expression in asked if not _answers(prometheus, expression)]
        return not empty

    with composed(engine, root, ["contraflow", "prometheus"], ports, {"CONTRAFLOW_SAMPLE_GRADIENTS": "1"}):
        wait_until_ready(service)
        _wait(lambda: ask(prometheus, "GET", "/-/ready").status == 200)
        with contextlib.suppress(TimeoutError):
            _wait(all_answered)
        version = _api(prometheus, "status/buildinfo")["version"]
        targets = [target["health"] for target in _api(prometheus, "targets?state=active")["activeTargets"]]
        _wait(lambda: all(rule["health"] != "unknown" for rule in _rules(prometheus)))
        rules = [rule["health"] for rule in _rules(prometheus)]
    return [
        Trial(
            f"Prometheus {version} of the monitoring profile",
            f"targets {', '.join(targets) or 'none'}; {rules.count('ok')} of {len(rules)} rules evaluate",
            "targets up; all rules evaluate",
            targets == ["up"] and set(rules) == {"ok"},
        ),
        Trial(
            "the dashboard's queries, asked of it",
            f"{len(asked) - len(empty)} of {len(asked)} give figures" + "".join(f"; not {title}" for title in empty),
            "all give figures",
            not empty,
        ),
    ]


def expressions(dashboard: Path) -> list[tuple[str, str]]:
    """(panel, PromQL) of every query, with Grafana's own variable filled in."""
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in panels
        for target in panel.get("targets", [])
    ]


def _answers(port: int, expression: str) -> bool:
    return bool(_api(port, "query?" + urllib.parse.urlencode({"query": expression}))["result"])


def _rules(port: int) -> list[dict[str, Any]]:
    return [rule for group in _api(port, "rules")["groups"] for rule in group["rules"]]


def _api(port: int, path: str) -> Any:
    answer = ask(port, "GET", f"/api/v1/{path}")
    assert answer.status == 200, f"Prometheus answers {answer.status} to {path}: {answer.body[:200]!r}"
    return answer.json()["data"]


def _wait(met: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not met():
        if time.monotonic() > until:
            raise TimeoutError(f"not so after {seconds:.0f} s")
        time.sleep(0.5)
