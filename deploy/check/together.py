"""The compose file and the Kubernetes manifests, started for real."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from deploy.check.client import ask, free_port, jpeg, wait_until_ready
from deploy.check.engine import Engine, EngineError
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


def trial_compose(engine: Engine, root: Path, host_network: bool) -> list[Trial]:
    """`up` of the default profile, a prediction, and `down`."""
    command, port = compose_command(engine), free_port()
    version = _run([*command, "version"], root).stdout.strip().splitlines()[0]
    with tempfile.TemporaryDirectory() as folder:
        files = ["--file", "docker-compose.yml"]
        if host_network:
            override = Path(folder) / "host-network.yml"
            service = {"network_mode": "host", "environment": {"CONTRAFLOW_HTTP_PORT": str(port)}}
            override.write_text(yaml.safe_dump({"services": {"contraflow": service}}))
            files += ["--file", str(override)]
        variables = {**os.environ, "SERVE_PORT": str(port)}
        try:
            _run([*command, *files, "up", "--detach", "--no-build", "contraflow"], root, variables)
            ready = wait_until_ready(port)
            status = ask(port, "POST", f"/predict?model={MODEL}", jpeg(32, 32)).status
            found = f"ready after {ready:.1f} s, /predict {status}"
        except (TimeoutError, EngineError) as error:
            status, found = 0, str(error)
        finally:
            stopped = subprocess.run(
                [*command, *files, "down"], cwd=root, env=variables, capture_output=True, timeout=120, check=False
            ).returncode
    how = ", with the host's network in place of a bridge" if host_network else ""
    return [
        Trial(
            f"`up` of docker-compose.yml by {version}{how}",
            f"{found}; `down` exit {stopped}",
            "/predict 200, exit 0",
            status == 200 and stopped == 0,
        )
    ]


def trial_kube_play(engine: Engine, root: Path, image: str, host_network: bool) -> list[Trial]:
    """The Deployment of overlays/cpu as `podman kube play` starts it; podman only."""
    if engine.name != "podman":
        return []
    port = free_port()
    (deployment,) = [
        document for document in render(root / "deploy/kubernetes/overlays/cpu") if document["kind"] == "Deployment"
    ]
    _adapt(deployment, image, port, host_network)
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "deployment.yaml"
        manifest.write_text(yaml.safe_dump(deployment))
        try:
            engine.read("kube", "play", str(manifest))
            ready = wait_until_ready(port)
            status = ask(port, "POST", f"/predict?model={MODEL}", jpeg(32, 32)).status
            found = f"ready after {ready:.1f} s, /predict {status}"
        except (TimeoutError, EngineError) as error:
            status, found = 0, str(error)
        finally:
            down = subprocess.run(
                [*engine.command, "kube", "down", str(manifest)],
                capture_output=True,
                timeout=GRACE + 60,
                check=False,
            ).returncode
    return [
        Trial(
            "the Deployment of overlays/cpu by `podman kube play` (image name and port changed)",
            f"{found}; `kube down` exit {down}",
            "/predict 200, exit 0",
            status == 200 and down == 0,
        )
    ]


def _adapt(deployment: dict[str, Any], image: str, port: int, host_network: bool) -> None:
    """The local image, and a port that is free on this machine."""
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["image"] = image
    container["imagePullPolicy"] = "Never"
    container["ports"][0] = {"name": "http", "containerPort": port, "hostPort": port}
    if host_network:
        pod["hostNetwork"] = True
        del container["ports"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container[probe]["httpGet"]["port"] = port
    container["env"].append({"name": "CONTRAFLOW_HTTP_PORT", "value": str(port)})


def _run(command: list[str], root: Path, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command[:3])}: " + " ".join(done.stderr.strip().splitlines()[-3:]))
    return done
