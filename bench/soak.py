"""Many mixed requests against the real service while a bundle is swapped under it: docs/reliability.md.

Bounded by a count of requests, never by time. Of them 75 % are good (every model, answers checked against
those stored at the start), 15 % bad (empty, no image, corrupt, unknown model) and 10 % cancelled (sent whole,
connection reset). The last model of the folder alternates between two bundles with different labels, so that
an answer which mixes versions is seen.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "reliability.md"
CONNECTIONS = 16
MEMORY_COUNTS_FROM = 10_000
"""Below this many requests the allocator is still warming up: growth is told, not judged."""
GROWTH_LIMIT = 0.05
SETTLING_SECONDS = 60.0
"""Descriptors that are still open this long after the last request are leaked."""
REPLACED = "bundle.json"
"""The file of the bundle that is swapped: one file, because only that can be replaced without a gap."""

Answer = tuple[str, str, int]
"""Bundle's digest, label, index."""


@dataclass
class Log:
    """What the client saw. `resident` holds megabytes, sampled a hundred times over the soak."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By (kind, status); a cancelled request has status 0."""
    wrong: int = 0
    swaps: int = 0
    resident: list[float] = field(default_factory=list)
    descriptors: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    """The service's own counts of `/predict`, by outcome, since the soak began."""

    @property
    def growth(self) -> float:
        """Median resident memory of the last fifth over that of the second fifth, less one."""
        fifth = max(1, len(self.resident) // 5)
        early, late = self.resident[fifth : 2 * fifth] or self.resident, self.resident[-fifth:]
        return statistics.median(late) / statistics.median(early) - 1

    def total(self, kind: str) -> int:
        return sum(count for (its, _), count in self.answers.items() if its == kind)

    def faults(self) -> list[str]:
        """Every promise that was not kept, in words; none is success."""
        refused = sum(count for (_, status), count in self.answers.items() if status >= 400)
        overloaded = sum(count for (_, status), count in self.answers.items() if status == 503)
        good, cancelled = self.answers["good", 200], self.total("cancelled")
        errors = {status for _, status in self.answers if status >= 500 and status != 503}
        checks = {
            f"{self.wrong} wrong answers": self.wrong == 0,
            f"server errors {sorted(errors)}": not errors,
            f"good requests answered {good} of {self.total('good')}": good + overloaded >= self.total("good"),
            "a bad request was accepted": self.answers["bad", 200] == 0,
            f"metrics count {self.outcomes['failed']} failed": self.outcomes["failed"] == 0,
            f"metrics refused {self.outcomes['refused']}, client {refused}": self.outcomes["refused"] == refused,
            f"metrics answered {self.outcomes['answered']}, client {good} (+ up to {cancelled} cancelled)": good
            <= self.outcomes["answered"]
            <= good + cancelled,
            "metrics count more requests than were sent": self.outcomes.total() <= self.answers.total(),
            f"descriptors grew from {self.descriptors[0]} to {self.descriptors[1]}": self.descriptors[1]
            <= self.descriptors[0],
            f"memory grew by {self.growth:.1%}": self.answers.total() < MEMORY_COUNTS_FROM
            or self.growth <= GROWTH_LIMIT,
        }
        return [words for words, kept in checks.items() if not kept]


@contextmanager
def service(bundles: Path) -> Iterator[tuple[psutil.Process, int]]:
    """The real service over `bundles`, once every model is ready, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(bundles)]
    options = ["--bundle-poll-seconds", "0.5", "--drain-delay", "0", "--log-level", "error"]
    process = subprocess.Popen([*command, *options], cwd=ROOT)
    try:
        _wait_until_ready(port, sum(1 for path in bundles.iterdir() if path.is_dir()))
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_ready(port: int, models: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            listing = httpx.get(f"http://127.0.0.1:{port}/models").json()["models"]
            if sum(model["ready"] for model in listing) == models:
                return
        time.sleep(0.1)
    raise TimeoutError("the service did not become ready within 120 s")


class Soak:
    """One soak: the requests, the stored answers, and the log."""

    def __init__(self, bundles: Path, port: int, process: psutil.Process, requests: int, seed: int) -> None:
        self._folder, self._port, self._process, self._requests = bundles, port, process, requests
        self._random = random.Random(seed)
        self._models = sorted(path.name for path in bundles.iterdir())
        self._images = [path.read_bytes() for path in sorted((ROOT / "tests" / "images").glob("*.jpg"))]
        self._expected: dict[tuple[str, int], set[Answer]] = {}
        self._left = requests
        self.log = Log()

    def run(self) -> Log:
        self._variants = self._two_variants(self._models[-1])
        self._store_answers()
        before, first = self._outcomes(), self._idle_descriptors()
        began = time.monotonic()
        asyncio.run(self._play())
        self.log.seconds = time.monotonic() - began
        self.log.descriptors = (first, self._idle_descriptors(first))
        self.log.outcomes = Counter(self._outcomes())
        self.log.outcomes.subtract(before)
        return self.log

    def _idle_descriptors(self, at_most: int | None = None) -> int:
        """The number of open descriptors without connections, as soon as it is at or below `at_most`.

        At any one instant a connection may still be closing or a bundle be loading; what is leaked never
        closes, so that the number found at the end of the time is then above `at_most`.
        """
        end = time.monotonic() + SETTLING_SECONDS
        while True:
            connected = any(each.status != psutil.CONN_LISTEN for each in self._process.net_connections())
            number = self._process.num_fds()
            if (not connected and (at_most is None or number <= at_most)) or time.monotonic() > end:
                return number
            time.sleep(0.05)

    def _two_variants(self, model: str) -> tuple[Path, Path]:
        """The bundle as it is, and one whose labels are in reverse order: another digest, other answers."""
        store = self._folder.parent / "store"
        original, reversed_labels = store / "original", store / "reversed"
        for variant in (original, reversed_labels):
            shutil.copytree(self._folder / model, variant)
        description = json.loads((reversed_labels / REPLACED).read_text())
        description["labels"].reverse()
        (reversed_labels / REPLACED).write_text(json.dumps(description))
        return original, reversed_labels

    def _store_answers(self) -> None:
        reverse = json.loads((self._variants[1] / REPLACED).read_text())["labels"]
        digest = hashlib.sha256((self._variants[1] / REPLACED).read_bytes()).hexdigest()[:12]
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=30) as client:
            for model in self._models:
                for number, image in enumerate(self._images):
                    answer = self._answer(client.post("/predict", params={"model": model}, content=image).content)
                    self._expected[model, number] = {answer}
                    if model == self._models[-1]:
                        self._expected[model, number].add((digest, reverse[answer[2]], answer[2]))

    @staticmethod
    def _answer(body: bytes) -> Answer:
        document = json.loads(body)
        best = document["predictions"][0]["labels"][0]
        return document["bundle"], best["label"], best["index"]

    def _outcomes(self) -> Counter[str]:
        text = httpx.get(f"http://127.0.0.1:{self._port}/metrics").text
        counts: Counter[str] = Counter()
        for labels, value in re.findall(r"^contraflow_requests_total\{(.*?)\} (\S+)", text, re.MULTILINE):
            fields = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if fields["route"] == "/predict":
                counts[fields["outcome"]] += round(float(value))
        return counts

    async def _play(self) -> None:
        swapper = asyncio.create_task(self._swap())
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))
        swapper.cancel()

    async def _swap(self) -> None:
        target = self._folder / self._models[-1]
        while True:
            source = self._variants[(self.log.swaps + 1) % 2]
            beside = target / ".new"
            await asyncio.to_thread(shutil.copyfile, source / REPLACED, beside)
            os.replace(beside, target / REPLACED)
            self.log.swaps += 1
            await asyncio.sleep(2.0)

    async def _connection(self) -> None:
        streams = await asyncio.open_connection("127.0.0.1", self._port)
        while self._left > 0:
            self._left -= 1
            if self._left % max(1, self._requests // 100) == 0:
                self.log.resident.append(self._process.memory_info().rss / 1e6)
            if not await self._one(*streams):
                streams = await asyncio.open_connection("127.0.0.1", self._port)
        streams[1].close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request of a kind drawn at random; whether the connection can be used again."""
        kind = self._random.choices(("good", "bad", "cancelled"), (75, 15, 10))[0]
        number = self._random.randrange(len(self._images))
        model, body = self._random.choice(self._models), self._images[number]
        if kind == "bad":
            bodies = ((model, b""), (model, b"no image at all"), (model, body[:40] + b"\0" * 200), ("unknown", body))
            model, body = self._random.choice(bodies)
        head = f"POST /predict?model={model} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        if kind == "cancelled":
            await asyncio.sleep(self._random.random() * 0.01)
            writer.transport.abort()
            self.log.answers[kind, 0] += 1
            return False
        answered = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", answered, re.IGNORECASE)
        content = await reader.readexactly(int(length[1]) if length else 0)
        status = int(answered[9:12])
        self.log.answers[kind, status] += 1
        if kind == "good" and status == 200:
            self.log.wrong += self._answer(content) not in self._expected[model, number]
        if b"connection: close" in answered.lower():
            writer.close()
            return False
        return True


def soak(requests: int, bundles: Path, seed: int = 0) -> Log:
    """Plays `requests` requests against the service over a copy of `bundles`."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "bundles"
        shutil.copytree(bundles, copy, ignore=shutil.ignore_patterns(".*"))
        with service(copy) as (process, port):
            return Soak(copy, port, process, requests, seed).run()


def report(log: Log, requests: int) -> str:
    """docs/reliability.md: what was run, what was seen."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())
    rows = "\n".join(
        f"| {kind} | {status or '–'} | {count:,} |" for (kind, status), count in sorted(log.answers.items())
    )
    faults = log.faults()
    verdict = "Every check passed." if not faults else "**Not kept:** " + "; ".join(faults) + "."
    judged = "" if requests >= MEMORY_COUNTS_FROM else " (too few requests to judge)"
    scale = "" if requests >= 1_000_000 else " This is a short form: the full million has not been run here."
    return f"""# Reliability

Written by `python -m bench.soak --requests {requests}` (`make soak` runs a million). {log.answers.total():,} requests
in {log.seconds:,.0f} s on {os.cpu_count()} CPUs ({name}, virtual machine), perhaps shared with other processes.{scale}

{verdict}

| request | status | number |
|---|---|---|
{rows}

- Wrong answers among the good: {log.wrong}. Every answer is checked against the bundle that it names.
- Bundle swaps on the way: {log.swaps}, between two bundles with different answers.
- `/metrics` on `/predict`: {", ".join(f"{count:,} {outcome}" for outcome, count in sorted(log.outcomes.items()))}.
  Refused agrees exactly with the client's log; a request whose client reset the connection may have been answered
  before, cancelled, or never read, so those are checked by bounds.
- Resident memory: {log.resident[0]:.0f} MB at first, {log.resident[-1]:.0f} MB at last; growth from the second fifth
  to the last {log.growth:+.1%}{judged}, limit {GROWTH_LIMIT:.0%}.
- Open descriptors: {log.descriptors[0]} before, {log.descriptors[1]} after.
- Not part of it: failing runs injected into the engine, diagnostics, and slow uploads. Tests in `tests/service`
  cover those one at a time.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--bundles", type=Path, default=ROOT / "models" / "bundles")
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    log = soak(options.requests, options.bundles)
    options.output.write_text(report(log, options.requests))
    print(*log.faults() or ["every check passed"], sep="\n")
    return bool(log.faults())


if __name__ == "__main__":
    sys.exit(main())
