"""The queries of the Grafana dashboard."""

from __future__ import annotations

import json
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "contraflow.json"


def queries() -> list[tuple[str, str]]:
    """Return (panel, PromQL) of every query, with Grafana's own variable filled in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in panels
        for target in panel.get("targets", [])
    ]
