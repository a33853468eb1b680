"""`make bench-serving`: the service, its bounds and five peers on the same cores in one run → docs/performance.md.

Two networks: the shipped resnet20 at 32×32, and one of ResNet-50's size at 224×224 that is made for the
occasion. Every server serves the same ONNX files and is called in a closed loop, every answer checked.
Takes about 16 minutes, and another few when the peers' environments are installed for the first time; wants
a machine with nothing else to do. `--seconds 1 --print` is a quick look.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import mean
from typing import Any

from bench.page import replace_section
from bench.serving.report import COMMAND, Bound, Measured, Row, report
from bench.serving.servers import HTTP_ALONE, ROOT, SERVERS, ServerUnderTest, started
from bench.serving.subjects import SUBJECTS, Subject, write_expected

PAGE = ROOT / "docs" / "performance.md"
OURS = SERVERS[0]
DECODERS = ("pillow", "service")
PROFILED_CONNECTIONS = 32


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    parser.add_argument("--seconds", type=float, default=7.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--subjects", nargs="*", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--print", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    chosen = [server for server in SERVERS if not options.only or server.name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        measured = []
        for name in options.subjects:
            scratch = Path(folder) / name
            scratch.mkdir()
            measured.append(measure(SUBJECTS[name](scratch, options.seconds), chosen, scratch))
    text = report(measured)
    if not options.print:
        replace_section(PAGE, COMMAND, text)
    print(text)


def measure(subject: Subject, servers: list[ServerUnderTest], scratch: Path) -> Measured:
    """The bounds, every server, and where our own CPU time goes."""
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
    """The bounds, again before and after every measurement of ours: a machine's speed changes within minutes."""

    def __init__(self, subject: Subject, images: Path, batches: dict[str, int]) -> None:
        self._subject, self._images, self._batches = subject, images, batches
        self._measured: dict[str, list[Bound]] = {decoder: [] for decoder in DECODERS}

    def look(self) -> None:
        """Measure both bounds now."""
        for decoder, batch in self._batches.items():
            seconds = self._subject.bound_seconds / 2
            self._measured[decoder].append(bound(self._subject, decoder, self._images, (batch,), seconds))

    def compare(self, result: dict[str, Any]) -> None:
        """Adds to `result`, measured between the last two looks, what it is of the bounds at that time."""
        pillow, decoder = (mean_bound(self._measured[name][-2:]) for name in DECODERS)
        result["of_pillow"] = result["per_cpu_second"] / pillow.per_cpu_second
        result["of_decoder"] = result["per_cpu_second"] / decoder.per_cpu_second
        result["over_ms"] = result["p50"] - decoder.alone_ms

    def mean(self, decoder: str) -> Bound | None:
        """Of all looks; None if there were none."""
        return mean_bound(self._measured[decoder]) if self._measured[decoder] else None


def mean_bound(bounds: Sequence[Bound]) -> Bound:
    """The mean of several measurements at one batch size."""
    return Bound(bounds[0].batch, *(mean(values) for values in zip(*(astuple(one)[1:] for one in bounds), strict=True)))


def bound(subject: Subject, decoder: str, images: Path, batches: Sequence[int], seconds: float) -> Bound:
    """The in-process bound in a process of its own, with as many threads as CPUs, at the best of `batches`."""
    say(f"{subject.name}: the bound with the decoder of {decoder}")
    command = ["bench.serving.bound", "--decoder", decoder, "--images", str(images), "--threads", str(os.cpu_count())]
    return Bound(**run(*command, "--seconds", str(seconds), "--batches", *map(str, batches)))


def measure_server(server: ServerUnderTest, subject: Subject, images: Path, beside: Beside | None = None) -> Row:
    """One server at every number of connections, compared with what is measured `beside` it."""
    say(f"{subject.name}: {server.name}")
    row = Row(server.name)
    try:
        with started(server, subject.bundle, images, subject.peer_threads) as running:
            row.ready_seconds = running.ready_seconds
            load(server, running.port, images, 8, 1.0)
            running.settle()
            if beside is not None:
                beside.look()
            for connections in subject.connections:
                before = running.cpu_seconds()
                result = load(server, running.port, images, connections, subject.seconds)
                result["per_cpu_second"] = result["right"] / (running.cpu_seconds() - before)
                if beside is not None:
                    beside.look()
                    beside.compare(result)
                row.results[connections] = result
            time.sleep(0.5)
            row.memory_mb = running.memory_mb()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        row.reason = str(error)
    return row


def http_alone(subject: Subject, images: Path) -> Row:
    """What HTTP costs without a model.

    Raises:
        RuntimeError: it cannot be measured, and the targets not be judged beside it.
    """
    row = measure_server(HTTP_ALONE, subject, images)
    if row.reason:
        raise RuntimeError(f"{row.name}: {row.reason}")
    return row


def memory_alone(subject: Subject, images: Path, scratch: Path) -> float:
    """MB of our service with this bundle alone, as the peers have it, after a short load."""
    folder = scratch / "alone"
    folder.mkdir()
    (folder / subject.bundle.name).symlink_to(subject.bundle)
    with started(OURS, folder / subject.bundle.name, images) as running:
        load(OURS, running.port, images, 32, min(3.0, subject.seconds))
        time.sleep(0.5)
        return running.memory_mb()


def profile(subject: Subject, images: Path) -> dict[str, float]:
    """Microseconds of CPU per request by part, at `PROFILED_CONNECTIONS`."""
    say(f"{subject.name}: where the service's time goes")
    command = ["bench.serving.profile", "--bundle", str(subject.bundle), "--images", str(images)]
    return run(*command, "--connections", str(PROFILED_CONNECTIONS), "--seconds", str(subject.seconds))


def load(server: ServerUnderTest, port: int, images: Path, connections: int, seconds: float) -> dict[str, Any]:
    """Run the load generator as its own process."""
    command = ["bench.serving.load", "--port", str(port), "--path", server.path, "--body", server.body]
    command += ["--connections", str(connections), "--seconds", str(seconds), "--images", str(images)]
    result = run(*command)
    return {**result, "rate": result["right"] / result["seconds"]}


def run(*command: str) -> dict[str, Any]:
    """A module of this bench in a process of its own; what it prints, as JSON."""
    done = subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
