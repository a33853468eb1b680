"""The servers under test: how each is installed, started, called, and what it costs while it runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.serving.load import BODIES

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-peers"
START_LIMIT = 120.0
SETTLING_LIMIT = 20.0
IDLE = 0.05
"""CPU seconds in a second below which a server is idle."""
COMMON = ("onnxruntime", "pillow", "numpy")


@dataclass(frozen=True)
class ServerUnderTest:
    """`command` is run by the environment's Python; {port} is filled in."""

    name: str
    command: tuple[str, ...]
    body: str
    path: str = "/predict"
    one_run_at_a_time: bool = False
    """It does not call the runtime from several threads, so that only a run of several threads uses all cores."""
    requirements: tuple[str, ...] = ()
    """Empty: this environment, in which the bench itself runs."""


SERVERS = (
    ServerUnderTest("Contraflow", ("-m", "service", "--http-port", "{port}", "--log-level", "warning"), "raw"),
    ServerUnderTest(
        "FastAPI, tutorial style",
        ("-m", "bench.serving.peers.tutorial_fastapi"),
        "raw",
    ),
    ServerUnderTest(
        "LitServe",
        ("-m", "bench.serving.peers.litserve_server"),
        "json",
        one_run_at_a_time=True,
        requirements=("litserve",),
    ),
    ServerUnderTest(
        "BentoML",
        ("-m", "bentoml", "serve", "bench.serving.peers.bentoml_service:ImageService", "--port", "{port}"),
        "json list",
        one_run_at_a_time=True,
        requirements=("bentoml",),
    ),
    ServerUnderTest(
        "MLServer",
        ("-c", "from mlserver.cli import main; main()", "start", "{folder}"),
        "v2",
        path="/v2/models/bench/infer",
        one_run_at_a_time=True,
        requirements=("mlserver",),
    ),
    ServerUnderTest(
        "Ray Serve",
        ("-m", "bench.serving.peers.ray_deployment"),
        "raw",
        one_run_at_a_time=True,
        requirements=("ray[serve]",),
    ),
)

HTTP_ALONE = ServerUnderTest("HTTP alone, answers looked up", ("-m", "bench.serving.peers.looked_up"), "raw")
"""No peer: what remains of a request's cost when nothing is computed."""


def python_of(server: ServerUnderTest) -> Path:
    """The server's interpreter, installing its environment on first use.

    Raises:
        RuntimeError: it does not install; the message is pip's last line.
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


class Running:
    """A started server: its port and its process tree's cost."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ready_seconds: float) -> None:
        self.port = port
        self.ready_seconds = ready_seconds
        self._root = psutil.Process(process.pid)

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """User and system time of all processes so far."""
        total = 0.0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def settle(self) -> None:
        """Waits until what the server does beside answering (loading further models, say) is over, or clearly not."""
        end = time.perf_counter() + SETTLING_LIMIT
        used = self.cpu_seconds()
        while time.perf_counter() < end:
            time.sleep(1.0)
            before, used = used, self.cpu_seconds()
            if used - before < IDLE:
                return

    def memory_mb(self) -> float:
        """Proportional set size of all processes (shared pages counted once), in MB."""
        total = 0
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1e6


@contextmanager
def started(server: ServerUnderTest, bundle: Path, images: Path, peer_threads: int = 1) -> Iterator[Running]:
    """The server, once it answers the first of `images` (JSON: [[file, expected label], …]) with 200.

    `peer_threads` is what a run has in a server that runs one batch at a time.

    Raises:
        RuntimeError: it does not install, or does not answer in time.
    """
    python = python_of(server)
    port = _free_port()
    sample = Path(json.loads(images.read_text())[0][0]).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        _write_mlserver_settings(Path(folder), port)
        command = [str(python), *(part.format(port=port, folder=folder) for part in server.command)]
        environment = {**os.environ, "BENCH_BUNDLE": str(bundle), "BENCH_PORT": str(port), "PYTHONPATH": str(ROOT)}
        environment["BENCH_IMAGES"] = str(images)
        environment["BENCH_THREADS"] = str(peer_threads if server.one_run_at_a_time else 1)
        environment["CONTRAFLOW_BUNDLES"] = str(bundle.parent)
        environment["CONTRAFLOW_DEFAULT_MODEL"] = bundle.name
        environment["BENTOML_DO_NOT_TRACK"] = "true"
        began = time.perf_counter()
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)
        try:
            _wait(server, port, sample, process, log)
            yield Running(process, port, time.perf_counter() - began)
        finally:
            _end(process)


def _wait(server: ServerUnderTest, port: int, sample: bytes, process: subprocess.Popen[bytes], log: Path) -> None:
    content_type, encode = BODIES[server.body]
    end = time.perf_counter() + START_LIMIT
    while time.perf_counter() < end:
        with suppress(httpx.HTTPError):
            answer = httpx.post(
                f"http://127.0.0.1:{port}{server.path}",
                content=encode(sample),
                headers={"content-type": content_type},
                timeout=30,
            )
            if answer.status_code == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
    raise RuntimeError(f"does not start: {lines[-1][:200]}")


def _write_mlserver_settings(folder: Path, port: int) -> None:
    settings = {"http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port(), "parallel_workers": 0}
    model = {
        "name": "bench",
        "implementation": "bench.serving.peers.mlserver_model.ImageModel",
        "max_batch_size": 32,
        "max_batch_time": 0.005,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))


def _end(process: subprocess.Popen[bytes]) -> None:
    tree = []
    with suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in tree:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
