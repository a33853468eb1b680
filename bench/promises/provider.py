"""Promise 5: provider and threads are those that were asked for, and a start that cannot be so is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import psutil

from bench.harness.client import post
from bench.harness.figures import Figure, exactly
from bench.harness.load import closed_loop
from bench.harness.paths import CAT, ROOT, SHIPPED
from bench.harness.readings import Metrics, get
from bench.harness.server import service, service_command
from service.contract.runtime.gpu.cuda import CUDA


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Ask for the provider in every way, count threads, and try three starts that cannot be what was asked for."""
    threads = {}
    for runs in (1, 2):
        with service(SHIPPED, "--run-threads", str(runs), "--decode-threads", "1") as server:
            threads[runs] = psutil.Process(server.process.pid).num_threads()
            named = providers(server.port)
    yield Figure("provider by /metrics, /models and /predict", ", ".join(sorted(named)), "one", len(named) == 1)
    yield exactly("threads that one run more brings", threads[2] - threads[1], 1)
    if CUDA not in named:
        yield refused(["--execution-provider", "cuda"], "execution_provider=cuda, but")
    yield refused(["--run-threads", "0"], "run_threads")
    yield refused(["--run-thread", "1"], "run-thread")


def providers(port: int) -> set[str]:
    """Return every execution provider that the service names somewhere."""
    (prediction,) = closed_loop(port, [post("/predict", CAT.read_bytes())], 1, 0.0)
    said = [json.loads(prediction.body), *get(port, "/models")["models"]]
    said += [sample.labels for sample in Metrics(port).samples("contraflow_execution_provider_info")]
    return {each["execution_provider"] for each in said}


def refused(flags: list[str], words: str) -> Figure:
    """Return whether a start with `flags` ends with a status other than 0, and says why in one line."""
    command = [*service_command(0, SHIPPED), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    line = (done.stderr.strip().splitlines() or ["no word"])[-1]
    kept = done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr
    return Figure(f"start with {' '.join(flags)}", f"status {done.returncode}: {line[:160]}", "refused, and why", kept)
