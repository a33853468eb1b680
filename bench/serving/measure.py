"""The measurement of one network: the bounds, every server, and the service's own CPU time by part."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import mean

from bench.harness.apart import call_apart
from bench.harness.server import Server
from bench.serving.bound import DECODERS, at_best_batch
from bench.serving.generator import load_with_images
from bench.serving.profile import profile
from bench.serving.results import COMPARED, Bound, Measured, Row
from bench.serving.servers import HTTP_ALONE, SERVERS, ServerUnderTest, settle, started
from bench.serving.subjects import Subject, write_expected

OURS = SERVERS[0]


def measure(subject: Subject, servers: list[ServerUnderTest], scratch: Path) -> Measured:
    """Measure the bounds, every server, and our own CPU time by part."""
    images = scratch / "images.json"
    write_expected(subject, images)
    beside = Beside(subject, images)
    rows = [
        measure_server(server, subject, images, beside if server is OURS else None)
        for server in sorted(servers, key=lambda server: server is not OURS)
    ]
    http_alone = measure_server(HTTP_ALONE, subject, images)
    if http_alone.reason:
        raise RuntimeError(f"{http_alone.name}: {http_alone.reason}")
    memory, parts = 0.0, {}
    if OURS in servers:
        memory = memory_alone(subject, images, scratch)
        say(f"{subject.name}: where the service's time goes")
        parts = call_apart(profile, str(subject.bundle), str(images), COMPARED, subject.seconds)
    return Measured(
        subject=subject,
        pillow=beside.mean("pillow"),
        decoder=beside.mean("service"),
        rows=rows,
        http_alone=http_alone,
        memory_alone=memory,
        profile=parts,
        load_average=os.getloadavg()[0],
    )


class Beside:
    """The bounds, measured before and after every measurement of ours: a machine's speed changes within minutes."""

    def __init__(self, subject: Subject, images: Path) -> None:
        """Find the best batch of each bound."""
        self._subject, self._images = subject, images
        self._best = {decoder: self._bound(decoder, subject.batches, subject.bound_seconds) for decoder in DECODERS}
        self._measured: dict[str, list[Bound]] = {decoder: [] for decoder in DECODERS}

    def _bound(self, decoder: str, batches: Sequence[int], seconds: float) -> Bound:
        say(f"{self._subject.name}: the bound with the decoder of {decoder}")
        return Bound(**call_apart(at_best_batch, decoder, str(self._images), batches, seconds))

    def look(self) -> None:
        for decoder, best in self._best.items():
            self._measured[decoder].append(self._bound(decoder, [best.batch], self._subject.bound_seconds / 2))

    def compare(self, result: dict[str, float]) -> None:
        """Add to `result`, which was measured between the last two looks, its ratios to the bounds at that time."""
        pillow, decoder = (mean_bound(self._measured[name][-2:]) for name in DECODERS)
        result["of_pillow"] = result["per_cpu_second"] / pillow.per_cpu_second
        result["of_decoder"] = result["per_cpu_second"] / decoder.per_cpu_second
        result["over_ms"] = result["p50"] - decoder.alone_ms

    def mean(self, decoder: str) -> Bound:
        """Return the mean of all looks, or the measurement that found the best batch if there were none."""
        return mean_bound(self._measured[decoder] or [self._best[decoder]])


def mean_bound(bounds: Sequence[Bound]) -> Bound:
    """Return the mean of several measurements at one batch size."""
    return Bound(bounds[0].batch, *(mean(values) for values in zip(*(astuple(one)[1:] for one in bounds), strict=True)))


def measure_server(server: ServerUnderTest, subject: Subject, images: Path, beside: Beside | None = None) -> Row:
    """Measure one server at every number of connections, and compare it with what is measured `beside` it."""
    say(f"{subject.name}: {server.name}")
    row = Row(server.name)
    try:
        with started(server, subject.bundle, images, subject.peer_threads) as running:
            row.ready_seconds = running.ready_seconds
            load(server, running, images, 8, 1.0)
            settle(running)
            if beside is not None:
                beside.look()
            for connections in subject.connections:
                before = running.processor_seconds()
                result = load(server, running, images, connections, subject.seconds)
                result["per_cpu_second"] = result["right"] / (running.processor_seconds() - before)
                if beside is not None:
                    beside.look()
                    beside.compare(result)
                row.results[connections] = result
            row.memory_mb = settled_megabytes(running)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        row.reason = str(error)
    return row


def memory_alone(subject: Subject, images: Path, scratch: Path) -> float:
    """Return the MB of our service with this bundle alone, as the peers have it, after a short load."""
    folder = scratch / "alone"
    folder.mkdir()
    (folder / subject.bundle.name).symlink_to(subject.bundle)
    with started(OURS, folder / subject.bundle.name, images) as running:
        load(OURS, running, images, COMPARED, min(3.0, subject.seconds))
        return settled_megabytes(running)


def settled_megabytes(running: Server) -> float:
    time.sleep(0.5)
    return running.proportional_megabytes()


def load(server: ServerUnderTest, running: Server, images: Path, connections: int, seconds: float) -> dict[str, float]:
    result: dict[str, float] = call_apart(
        load_with_images, running.port, server.path, server.body, str(images), connections, seconds
    )
    return result


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
