"""docker-compose.yml, brought up for real: the service alone, and with the monitoring profile's Prometheus."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.container.client import GRADIENTS, PREDICT, ask, free_port, wait_until, wait_until_ready
from tests.container.conftest import CPU_IMAGE, Finding
from tests.container.engine import ROOT, Container, Engine, EngineError, development_tool, last_lines
from tests.container.pictures import smooth_jpeg
from tests.deploy.dashboard import queries

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def compose(engine: Engine) -> list[str]:
    """The compose command: COMPOSE if it is set, else the engine's own."""
    if named := os.environ.get("COMPOSE"):
        return shlex.split(named)
    if engine.name == "docker":
        return [*engine.command, "compose"]
    return [development_tool("podman-compose")]


@pytest.fixture(autouse=True)
def the_image_of_the_compose_file(engine: Engine, image: str) -> None:
    if image != CPU_IMAGE:
        engine.read("tag", image, CPU_IMAGE)


@contextmanager
def composed(
    compose: Sequence[str], folder: Path, services: Sequence[str], variables: Mapping[str, str | int], **settings: str
) -> Iterator[None]:
    """Bring some services up, and down in the end.

    Args:
        folder: for a file of the service's `settings`, which are variables of its container.
        variables: of the compose file, such as its ports.
    """
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    override = folder / "override.yml"
    override.write_text(yaml.safe_dump({"services": {"contraflow": {"environment": settings}}}))
    command = [*compose, "--file", "docker-compose.yml", "--file", str(override), "--profile", "monitoring"]
    try:
        run([*command, "up", "--detach", "--no-build", *services], environment)
        yield
    finally:
        run([*command, "down", "--volumes"], environment)


def run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise EngineError(f"{Path(command[0]).name} {command[-1]}: {last_lines(done.stderr)}")
    return done.stdout


def test_the_default_profile_serves_within_its_limits(
    engine: Engine, compose: list[str], tmp_path: Path, finding: Finding
) -> None:
    port = free_port()
    with composed(compose, tmp_path, ["contraflow"], {"SERVE_PORT": port}):
        seconds = wait_until_ready(port)
        status = ask(port, "POST", PREDICT, smooth_jpeg(32, 32)).status
        (identity,) = engine.read("ps", "--quiet", "--filter", "name=contraflow.contraflow.1").split()
        limits = Container(engine, identity).limits()
    version = run([*compose, "version"], os.environ).strip().splitlines()[0]
    finding(
        f"`up` and `down` of docker-compose.yml by {version}",
        found=f"ready after {seconds:.1f} s, /predict {status}; {limits}",
        wanted="/predict 200; 1.07 GB, 2 CPUs, read-only root",
    )
    assert status == 200
    assert limits == "1.07 GB, 2 CPUs, read-only root"


@dataclass
class Prometheus:
    """The state of the monitoring profile's Prometheus once it has scraped the service a few times."""

    version: str = ""
    targets: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    """The health of each of our rules."""
    panels_without_figures: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def prometheus(engine: Engine, image: str, compose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Prometheus:
    service, port = free_port(), free_port()
    ports = {"SERVE_PORT": service, "PROMETHEUS_PORT": port}
    found = Prometheus()

    def every_query_gives_figures() -> bool:
        """Make something of every kind to count, then ask every query; a rate needs two scrapes."""
        for path in (PREDICT, GRADIENTS, "/predict?model=nowhere"):
            ask(service, "POST", path, smooth_jpeg(32, 32))
        found.panels_without_figures = [panel for panel, query in queries() if not gives_figures(port, query)]
        return not found.panels_without_figures

    folder = tmp_path_factory.mktemp("compose")
    with composed(compose, folder, ["contraflow", "prometheus"], ports, CONTRAFLOW_SAMPLE_GRADIENTS="1"):
        wait_until_ready(service)
        wait_until(lambda: ask(port, "GET", "/-/ready").status == 200, "Prometheus is ready")
        with contextlib.suppress(TimeoutError):
            wait_until(every_query_gives_figures, "every query gives figures")
        found.version = read(port, "status/buildinfo")["version"]
        found.targets = [target["health"] for target in read(port, "targets?state=active")["activeTargets"]]
        wait_until(lambda: "unknown" not in rules_health(port), "every rule was evaluated")
        found.rules = rules_health(port)
    return found


def gives_figures(port: int, query: str) -> bool:
    return bool(read(port, "query?" + urllib.parse.urlencode({"query": query}))["result"])


def rules_health(port: int) -> list[str]:
    return [rule["health"] for group in read(port, "rules")["groups"] for rule in group["rules"]]


def read(port: int, path: str) -> Any:
    """Return what Prometheus' own API answers."""
    response = ask(port, "GET", f"/api/v1/{path}")
    assert response.status == 200, f"Prometheus answers {response.status} to {path}: {response.body[:200]!r}"
    return response.json()["data"]


def test_prometheus_scrapes_the_service_and_evaluates_every_rule(prometheus: Prometheus, finding: Finding) -> None:
    healthy = prometheus.rules.count("ok")
    finding(
        f"Prometheus {prometheus.version} of the monitoring profile",
        found=f"targets {', '.join(prometheus.targets) or 'none'}; {healthy} of {len(prometheus.rules)} rules evaluate",
        wanted="targets up; all rules evaluate",
    )
    assert prometheus.targets == ["up"]
    assert set(prometheus.rules) == {"ok"}


def test_every_query_of_the_dashboard_gives_figures(prometheus: Prometheus, finding: Finding) -> None:
    asked, empty = len(queries()), prometheus.panels_without_figures
    finding(
        "the dashboard's queries, asked of it",
        found=f"{asked - len(empty)} of {asked} give figures" + "".join(f"; not {panel}" for panel in empty),
        wanted="all give figures",
    )
    assert not empty
