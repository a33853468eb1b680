"""Promise 5: what was asked for is what runs, and a start that cannot be so is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import psutil

from bench.promises.bundles import IMAGES, ROOT, SHIPPED
from bench.promises.findings import Finding, exactly
from bench.promises.load import closed_loop, post
from bench.promises.metrics import Metrics, all_ready, get, wait_until
from bench.replicas import Replica, replicas

CUDA = "CUDAExecutionProvider"
INFO = "contraflow_execution_provider_info"


def measure() -> Iterator[Finding]:
    """The provider by every way to ask, the threads, and three starts that cannot be what was asked for."""
    threads = {}
    for runs in (1, 2):
        flags = ("--run-threads", str(runs), "--decode-threads", "1", "--log-level", "error")
        with replicas(1, SHIPPED, *flags) as (service,):
            wait_until(lambda port=service.port: all_ready(port))
            threads[runs] = psutil.Process(service.process.pid).num_threads()
            named = _named(service)
    yield Finding("provider by /metrics, /models and /predict", ", ".join(sorted(named)), "one", len(named) == 1)
    yield exactly("threads that one run more brings", threads[2] - threads[1], 1)
    if CUDA not in named:
        yield _refused(["--execution-provider", "cuda"], "execution_provider=cuda, but")
    yield _refused(["--run-threads", "0"], "run_threads")
    yield _refused(["--run-thread", "1"], "run-thread")


def _named(service: Replica) -> set[str]:
    answer = _ask(service.port)
    models = get(service.port, "/models")["models"]
    return {
        Metrics(service.port).labels(INFO)["execution_provider"],
        answer["execution_provider"],
        *(model["execution_provider"] for model in models),
    }


def _ask(port: int) -> dict[str, str]:
    answers = asyncio.run(closed_loop(port, [post("/predict", (IMAGES / "cat.jpg").read_bytes())], 1, 0.0))
    document: dict[str, str] = json.loads(answers[0].body)
    return document


def _refused(flags: list[str], words: str) -> Finding:
    """A start with `flags` must end with another status than 0, and say why in one line."""
    command = [sys.executable, "-m", "service", "--http-port", "0", "--bundles", str(SHIPPED), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    line = (done.stderr.strip().splitlines() or ["no word"])[-1]
    kept = done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr
    return Finding(f"start with {' '.join(flags)}", f"status {done.returncode}: {line[:160]}", "refused, and why", kept)
