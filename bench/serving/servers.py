"""The servers under test: how each is installed, started and called."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.harness.paths import ROOT
from bench.harness.server import Server, free_port, running
from bench.serving.generator import BODIES

ENVIRONMENTS = ROOT / ".venv-peers"
SETTLING_LIMIT = 20.0
IDLE = 0.05
"""CPU seconds in a second below which a server counts as idle."""
COMMON = ("onnxruntime", "pillow", "numpy")
"""Packages of every peer's environment. Peers run without our service, and without the load generator's packages."""


@dataclass(frozen=True)
class ServerUnderTest:
    """One server. In `command`, which the environment's Python runs, {port} and {folder} are filled in."""

    name: str
    command: tuple[str, ...]
    body: str
    path: str = "/predict"
    runs_side_by_side: bool = False
    """A peer that makes several runs at once, of one thread each; those of the other peers have several threads."""
    requirements: tuple[str, ...] = ()
    """Packages of its own environment; without any it runs in the one in which the bench itself runs."""


SERVERS = (
    ServerUnderTest("Contraflow", ("-m", "service", "--http-port", "{port}"), "raw"),
    ServerUnderTest(
        "FastAPI, tutorial style", ("-m", "bench.serving.peers.tutorial_fastapi"), "raw", runs_side_by_side=True
    ),
    ServerUnderTest("LitServe", ("-m", "bench.serving.peers.litserve_server"), "json", requirements=("litserve",)),
    ServerUnderTest(
        "BentoML",
        ("-m", "bentoml", "serve", "bench.serving.peers.bentoml_service:ImageService", "--port", "{port}"),
        "json list",
        requirements=("bentoml",),
    ),
    ServerUnderTest(
        "MLServer",
        ("-c", "from mlserver.cli import main; main()", "start", "{folder}"),
        "v2",
        path="/v2/models/bench/infer",
        requirements=("mlserver",),
    ),
    ServerUnderTest("Ray Serve", ("-m", "bench.serving.peers.ray_deployment"), "raw", requirements=("ray[serve]",)),
)

HTTP_ALONE = ServerUnderTest("HTTP alone, answers looked up", ("-m", "bench.serving.peers.looked_up"), "raw")
"""The rest of a request's cost when nothing is computed."""


def python_of(server: ServerUnderTest) -> Path:
    """Return the server's interpreter, installing its environment on first use.

    Raises:
        RuntimeError: it does not install; the message has pip's last line.
    """
    if not server.requirements:
        return Path(sys.executable)
    folder = ENVIRONMENTS / server.name.lower().replace(" ", "-")
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *server.requirements, *COMMON]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"does not install: {done.stderr.strip().splitlines()[-1][:200]}")
        (folder / "installed").touch()
    return python


@contextmanager
def started(under_test: ServerUnderTest, bundle: Path, images: Path, peer_threads: int = 1) -> Iterator[Server]:
    """Run a server, from when it answers the first of `images` (JSON: [[file, expected label], …]) with 200.

    `peer_threads` is the number of threads of a run in a peer that runs one batch at a time.

    Raises:
        RuntimeError: it does not install, or does not answer in time.
    """
    python, port = python_of(under_test), free_port()
    sample = Path(json.loads(images.read_text())[0][0]).read_bytes()
    content_type, encode = BODIES[under_test.body]

    def answers(port: int) -> bool:
        url, headers = f"http://127.0.0.1:{port}{under_test.path}", {"content-type": content_type}
        return httpx.post(url, content=encode(sample), headers=headers, timeout=30).status_code == 200

    with tempfile.TemporaryDirectory() as folder:
        write_mlserver_settings(Path(folder), port)
        command = [str(python), *(part.format(port=port, folder=folder) for part in under_test.command)]
        environment = {
            "PYTHONPATH": str(ROOT),
            "BENCH_BUNDLE": str(bundle),
            "BENCH_PORT": str(port),
            "BENCH_IMAGES": str(images),
            "BENCH_THREADS": str(1 if under_test.runs_side_by_side else peer_threads),
            "CONTRAFLOW_BUNDLES": str(bundle.parent),
            "CONTRAFLOW_DEFAULT_MODEL": bundle.name,
            "BENTOML_DO_NOT_TRACK": "true",
        }
        with running(command, port, answers, environment=environment) as server:
            yield server


def settle(server: Server, limit: float = SETTLING_LIMIT) -> None:
    """Wait until the server's other work, such as loading further models, is over, or clearly goes on."""
    end = time.perf_counter() + limit
    used = server.processor_seconds()
    while time.perf_counter() < end:
        time.sleep(1.0)
        before, used = used, server.processor_seconds()
        if used - before < IDLE:
            return


def write_mlserver_settings(folder: Path, port: int) -> None:
    """Write the two files that MLServer is configured by."""
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
    model = {
        "name": "bench",
        "implementation": "bench.serving.peers.mlserver_model.ImageModel",
        "max_batch_size": 32,
        "max_batch_time": 0.005,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
