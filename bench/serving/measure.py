"""The measurement of one network: the bounds, every server, and the service's own CPU time by part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import mean
from typing import Any

from bench.harness.paths import ROOT
from bench.serving.results import Bound, Measured, Row
from bench.serving.servers import HTTP_ALONE, SERVERS, ServerUnderTest, settle, started
from bench.serving.subjects import Subject, write_expected

OURS = SERVERS[0]
DECODERS = ("pillow", "service")
PROFILED_CONNECTIONS = 32


def measure(subject: Subject, servers: list[ServerUnderTest], scratch: Path) -> Measured:
    """Measure the bounds, every server, and our own CPU time by part."""
    images = scratch / "images.json"
    write_expected(subject, images)
    best = {decoder: bound(subject, decoder, images, subject.batches, subject.bound_seconds) for decoder in DECODERS}
    beside = Beside(subject, images, {decoder: found.batch for decoder, found in best.items()})
    ours = [measure_server(server, subject, images, beside) for server in servers if server is OURS]
    return Measured(
        subject=subject,
        pillow=beside.mean("pillow") or best["pillow"],
        decoder=beside.mean("service") or best["service"],
        rows=ours + [measure_server(server, subject, images) for server in servers if server is not OURS],
        http_alone=http_alone(subject, images),
        memory_alone=memory_alone(subject, images, scratch) if OURS in servers else 0.0,
        profile=profile(subject, images) if OURS in servers else {},
        load_average=os.getloadavg()[0],
    )


class Beside:
    """The bounds, measured before and after every measurement of ours: a machine's speed changes within minutes."""

    def __init__(self, subject: Subject, images: Path, batches: dict[str, int]) -> None:
        self._subject, self._images, self._batches = subject, images, batches
        self._measured: dict[str, list[Bound]] = {decoder: [] for decoder in DECODERS}

    def look(self) -> None:
        """Measure both bounds now."""
        for decoder, batch in self._batches.items():
            seconds = self._subject.bound_seconds / 2
            self._measured[decoder].append(bound(self._subject, decoder, self._images, (batch,), seconds))

    def compare(self, result: dict[str, Any]) -> None:
        """Add to `result`, which was measured between the last two looks, its ratios to the bounds at that time."""
        pillow, decoder = (mean_bound(self._measured[name][-2:]) for name in DECODERS)
        result["of_pillow"] = result["per_cpu_second"] / pillow.per_cpu_second
        result["of_decoder"] = result["per_cpu_second"] / decoder.per_cpu_second
        result["over_ms"] = result["p50"] - decoder.alone_ms

    def mean(self, decoder: str) -> Bound | None:
        """Return the mean of all looks; None if there were none."""
        return mean_bound(self._measured[decoder]) if self._measured[decoder] else None


def mean_bound(bounds: Sequence[Bound]) -> Bound:
    """Return the mean of several measurements at one batch size."""
    return Bound(bounds[0].batch, *(mean(values) for values in zip(*(astuple(one)[1:] for one in bounds), strict=True)))


def bound(subject: Subject, decoder: str, images: Path, batches: Sequence[int], seconds: float) -> Bound:
    """Measure the bound in a process of its own, with as many threads as CPUs, at the best of `batches`."""
    say(f"{subject.name}: the bound with the decoder of {decoder}")
    command = ["bench.serving.bound", "--decoder", decoder, "--images", str(images), "--threads", str(os.cpu_count())]
    return Bound(**run(*command, "--seconds", str(seconds), "--batches", *map(str, batches)))


def measure_server(server: ServerUnderTest, subject: Subject, images: Path, beside: Beside | None = None) -> Row:
    """Measure one server at every number of connections, and compare it with what is measured `beside` it."""
    say(f"{subject.name}: {server.name}")
    row = Row(server.name)
    try:
        with started(server, subject.bundle, images, subject.peer_threads) as running:
            row.ready_seconds = running.ready_seconds
            load(server, running.port, images, 8, 1.0)
            settle(running)
            if beside is not None:
                beside.look()
            for connections in subject.connections:
                before = running.processor_seconds()
                result = load(server, running.port, images, connections, subject.seconds)
                result["per_cpu_second"] = result["right"] / (running.processor_seconds() - before)
                if beside is not None:
                    beside.look()
                    beside.compare(result)
                row.results[connections] = result
            time.sleep(0.5)
            row.memory_mb = running.proportional_megabytes()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        row.reason = str(error)
    return row


def http_alone(subject: Subject, images: Path) -> Row:
    """Measure the cost of HTTP without a model.

    Raises:
        RuntimeError: it cannot be measured, and the targets not be judged beside it.
    """
    row = measure_server(HTTP_ALONE, subject, images)
    if row.reason:
        raise RuntimeError(f"{row.name}: {row.reason}")
    return row


def memory_alone(subject: Subject, images: Path, scratch: Path) -> float:
    """Return the MB of our service with this bundle alone, as the peers have it, after a short load."""
    folder = scratch / "alone"
    folder.mkdir()
    (folder / subject.bundle.name).symlink_to(subject.bundle)
    with started(OURS, folder / subject.bundle.name, images) as running:
        load(OURS, running.port, images, 32, min(3.0, subject.seconds))
        time.sleep(0.5)
        return running.proportional_megabytes()


def profile(subject: Subject, images: Path) -> dict[str, float]:
    """Return microseconds of CPU per request by part, at `PROFILED_CONNECTIONS`."""
    say(f"{subject.name}: where the service's time goes")
    command = ["bench.serving.profile", "--bundle", str(subject.bundle), "--images", str(images)]
    return run(*command, "--connections", str(PROFILED_CONNECTIONS), "--seconds", str(subject.seconds))


def load(server: ServerUnderTest, port: int, images: Path, connections: int, seconds: float) -> dict[str, Any]:
    """Run the load generator as its own process."""
    command = ["bench.serving.generator", "--port", str(port), "--path", server.path, "--body", server.body]
    command += ["--connections", str(connections), "--seconds", str(seconds), "--images", str(images)]
    result = run(*command)
    return {**result, "rate": result["right"] / result["seconds"]}


def run(*command: str) -> dict[str, Any]:
    """Run a module in a process of its own, and return what it prints as JSON."""
    done = subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
