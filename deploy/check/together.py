"""The compose file and the Kubernetes manifests, started for real."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.check.client import ask, free_port, jpeg, wait_until_ready
from deploy.check.engine import Container, Engine, EngineError
from deploy.check.manifests import render
from deploy.check.tools import tool
from deploy.check.trial import Trial
from deploy.check.trials import GRACE, MODEL


def compose_command(engine: Engine) -> list[str]:
    """`COMPOSE` if set, else the engine's own.

    Raises:
        EngineError: there is none.
    """
    if named := os.environ.get("COMPOSE"):
        return shlex.split(named)
    if engine.name == "docker":
        return [*engine.command, "compose"]
    if podman_compose := tool("podman-compose"):
        return [podman_compose]
    raise EngineError("no compose tool: install podman-compose, or set COMPOSE")


@contextmanager
def composed(
    engine: Engine, root: Path, services: Sequence[str], ports: dict[str, int], settings: dict[str, str] | None = None
) -> Iterator[None]:
    """Some services of docker-compose.yml, brought up and down; `ports` are the variables that choose them.

    Raises:
        EngineError: the tool failed, going up or down.
    """
    variables = {**os.environ, **{name: str(port) for name, port in ports.items()}}
    with tempfile.TemporaryDirectory() as folder:
        override = Path(folder) / "override.yml"
        override.write_text(yaml.safe_dump({"services": {"contraflow": {"environment": settings or {}}}}))
        files = ["--file", "docker-compose.yml", "--file", str(override)]
        command = [*compose_command(engine), *files, "--profile", "monitoring"]
        try:
            _run([*command, "up", "--detach", "--no-build", *services], root, variables)
            yield
        finally:
            _run([*command, "down", "--volumes"], root, variables)


def trial_compose(engine: Engine, root: Path) -> list[Trial]:
    """`up` of the default profile, a prediction, the limits that the container really has, and `down`."""
    version, port = _run([*compose_command(engine), "version"], root).stdout.strip().splitlines()[0], free_port()
    with composed(engine, root, ["contraflow"], {"SERVE_PORT": port}):
        ready = wait_until_ready(port)
        status = ask(port, "POST", f"/predict?model={MODEL}", jpeg(32, 32)).status
        (identity,) = engine.read("ps", "--quiet", "--filter", "name=contraflow.contraflow.1").split()
        limits = Container(engine, identity).limits()
    return [
        Trial(
            f"`up` and `down` of docker-compose.yml by {version}",
            f"ready after {ready:.1f} s, /predict {status}; {limits}",
            "/predict 200; 1.07 GB, 2 CPUs, read-only root",
            status == 200 and limits == "1.07 GB, 2 CPUs, read-only root",
        )
    ]


def trial_kube_play(engine: Engine, root: Path, image: str) -> list[Trial]:
    """The Deployment of overlays/cpu as `podman kube play` starts it; podman only."""
    if engine.name != "podman":
        return []
    port = free_port()
    (deployment,) = [
        document for document in render(root / "deploy/kubernetes/overlays/cpu") if document["kind"] == "Deployment"
    ]
    _adapt(deployment, image, port)
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "deployment.yaml"
        manifest.write_text(yaml.safe_dump(deployment))
        try:
            engine.read("kube", "play", str(manifest))
            ready = wait_until_ready(port)
            status = ask(port, "POST", f"/predict?model={MODEL}", jpeg(32, 32)).status
        finally:
            engine.read("kube", "down", str(manifest), timeout=GRACE + 60)
    return [
        Trial(
            "the Deployment of overlays/cpu by `podman kube play` and `kube down` (one replica, a host port)",
            f"ready after {ready:.1f} s, /predict {status}",
            "/predict 200",
            status == 200,
        )
    ]


def _adapt(deployment: dict[str, Any], image: str, port: int) -> None:
    """The local image, and one replica, as replicas of one machine cannot share a port of it."""
    deployment["spec"]["replicas"] = 1
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    container["imagePullPolicy"] = "Never"
    container["ports"][0]["hostPort"] = port


def _run(command: list[str], root: Path, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise EngineError(f"{Path(command[0]).name} {command[-1]}: {' '.join(done.stderr.strip().splitlines()[-3:])}")
    return done
