"""Promise 8: every attack, one after the other, at a service with its own limits; what each costs meanwhile."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.promises.bundles import IMAGES, SHIPPED, resizing
from bench.promises.findings import Finding, at_least, at_most, exactly
from bench.promises.load import post
from bench.promises.metrics import all_ready, wait_until
from bench.replicas import Replica, replicas
from tests.attacks import FAMILIES
from tests.attacks.wire import Attack, Target, answer_to, status_of

REQUEST_TIMEOUT = 3.0
MEMORY_LIMIT = 64.0
"""MiB beyond decoding."""
HEALTH_LIMIT = 50.0
PLAYS = 3
BYTES_PER_PIXEL = 16
PIXELS = 25_000_000
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True)
class Cost:
    """What one attack got, and what it cost: MiB at the peak, the slowest health check meanwhile in ms."""

    attack: Attack
    status: int
    memory: float
    health: float

    @property
    def memory_beyond_decoding(self) -> float:
        return self.memory - (BYTES_PER_PIXEL * PIXELS / 2**20 if self.attack.decodes else 0.0)


def measure() -> Iterator[Finding]:
    """All attacks, then whether the service still answers."""
    labels = json.loads((SHIPPED / "resnet20" / "bundle.json").read_text())["labels"]
    target = Target("resnet20", 32, tuple(labels), pixels=PIXELS)
    flags = ("--default-model", "resnet20", "--request-timeout", str(REQUEST_TIMEOUT), "--log-level", "error")
    with tempfile.TemporaryDirectory() as folder, replicas(1, _bundles(Path(folder), target), *flags) as (service,):
        good = Attack("a photograph", (200,), lambda _: [post("/predict", (IMAGES / "cat.jpg").read_bytes())])
        wait_until(lambda: all_ready(service.port))
        cost_of(good, target, service)
        costs = {name: [_cost(attack, target, service) for attack in family] for name, family in FAMILIES.items()}
        alive = status_of(answer_to(good, target, "127.0.0.1", service.port)) == 200
    yield from judged(costs)
    yield exactly("right answers afterwards", int(alive), 1)


def _bundles(folder: Path, target: Target) -> Path:
    """The shipped ones, and one that resizes."""
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    resizing(folder, target.model, target.resizing)
    return folder


def _cost(attack: Attack, target: Target, service: Replica) -> Cost:
    """Played again while its health check is too slow: most memory, least delay of up to three plays."""
    plays = [cost_of(attack, target, service)]
    while plays[-1].health > HEALTH_LIMIT and len(plays) < PLAYS:
        plays.append(cost_of(attack, target, service))
    return Cost(attack, plays[-1].status, max(p.memory for p in plays), min(p.health for p in plays))


def judged(costs: dict[str, list[Cost]]) -> Iterator[Finding]:
    for name, family in costs.items():
        most, slowest = max(family, key=lambda cost: cost.memory), max(family, key=lambda cost: cost.health)
        figure = f"{len(family)} attacks; most memory {most.memory:.0f} MiB ({most.attack.name}), "
        yield Finding(name, figure + f"slowest health check {slowest.health:.0f} ms ({slowest.attack.name})")
    every = [cost for family in costs.values() for cost in family]
    yield at_least("attacks", len(every), 60)
    wrong = [f"{cost.attack.name}: {cost.status}" for cost in every if cost.status not in cost.attack.statuses]
    yield Finding("with another answer than theirs", "; ".join(wrong) or "none", "none", not wrong)
    fattest = max(every, key=lambda cost: cost.memory_beyond_decoding)
    yield at_most("most memory beyond decoding", fattest.memory_beyond_decoding, MEMORY_LIMIT, "MiB")
    decoding = max((cost.memory for cost in every if cost.attack.decodes), default=0.0)
    yield at_most("most memory of a picture of 25 megapixels, per pixel", decoding * 2**20 / PIXELS, 16, "bytes")
    yield at_most("slowest /health/live meanwhile", max(cost.health for cost in every), HEALTH_LIMIT, "ms")


def cost_of(attack: Attack, target: Target, service: Replica) -> Cost:
    """Plays one attack while another thread asks for /health/live all the time."""
    messages = list(attack.messages(target))  # made beforehand: the service's time is what is measured
    prepared = Attack(attack.name, attack.statuses, lambda _: messages)
    process = Path(f"/proc/{service.process.pid}")
    with health_checks(service.port) as slowest:
        (process / "clear_refs").write_text("5")
        before = _kilobytes(process, "VmRSS")
        answer = answer_to(prepared, target, "127.0.0.1", service.port)
        time.sleep(0.02)
    memory = (_kilobytes(process, "VmHWM") - before) / 1024
    return Cost(attack, status_of(answer), memory, 1e3 * slowest[0])


@contextlib.contextmanager
def health_checks(port: int) -> Iterator[list[float]]:
    """The longest time to an answer so far, in seconds, by a kept connection that asks every 2 ms."""
    slowest, stop = [0.0], threading.Event()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            while not stop.is_set():
                began = time.monotonic()
                connection.sendall(HEALTH)
                if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    slowest[0] = float("inf")
                    return
                slowest[0] = max(slowest[0], time.monotonic() - began)
                time.sleep(0.002)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield slowest
    finally:
        stop.set()
        thread.join()


def _kilobytes(process: Path, field: str) -> int:
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
