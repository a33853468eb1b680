"""Promise 8: every attack, one after the other, at a service with its own limits, and its cost meanwhile."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.bundles.copies import resizing
from bench.harness.client import post
from bench.harness.figures import Figure, at_least, at_most, exactly
from bench.harness.load import Traffic
from bench.harness.paths import CAT, SHIPPED
from bench.harness.server import Server, service
from tests.attacks import FAMILIES
from tests.attacks.wire import Attack, Target, answer_to, status_of

MODEL = "resnet20"
REQUEST_TIMEOUT = 3.0
MEMORY_LIMIT = 64.0
"""MiB beyond decoding."""
HEALTH_LIMIT = 50.0
"""Milliseconds."""
HEALTH_PAUSE = 0.002
PLAYS = 3
BYTES_PER_PIXEL = 16
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True)
class Cost:
    """One attack, the status that it got, and its cost to the service."""

    attack: Attack
    status: int
    memory: float
    """MiB at the peak, over the size before."""
    health: float
    """Milliseconds of the slowest health check meanwhile."""


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Play all attacks, or a share of each family, then see whether the service still answers."""
    labels = json.loads((SHIPPED / MODEL / "bundle.json").read_text())["labels"]
    target = Target(MODEL, 32, tuple(labels))
    families = {name: family[: max(1, round(len(family) * scale))] for name, family in FAMILIES.items()}
    photograph = Attack("a photograph", (200,), lambda _: [post("/predict", CAT.read_bytes())])
    flags = ("--default-model", MODEL, "--request-timeout", str(REQUEST_TIMEOUT))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
        resizing(Path(folder), MODEL, target.resizing)
        with service(Path(folder), *flags) as server:
            cost_of(photograph, target, server)
            costs = {name: [least_cost(attack, target, server) for attack in each] for name, each in families.items()}
            alive = status_of(answer_to(photograph, target, "127.0.0.1", server.port)) == 200
    yield from judged(costs, target.pixels)
    yield exactly("right answers afterwards", alive, 1)


def least_cost(attack: Attack, target: Target, server: Server) -> Cost:
    """Play an attack, again while its health check is too slow: most memory, least delay of up to three plays."""
    plays = [cost_of(attack, target, server)]
    while plays[-1].health > HEALTH_LIMIT and len(plays) < PLAYS:
        plays.append(cost_of(attack, target, server))
    return Cost(attack, plays[-1].status, max(p.memory for p in plays), min(p.health for p in plays))


def cost_of(attack: Attack, target: Target, server: Server) -> Cost:
    """Play one attack while another connection asks for /health/live all the time."""
    messages = list(attack.messages(target))  # made beforehand, so that the service's time alone is measured
    prepared = Attack(attack.name, attack.statuses, lambda _: messages)
    process = Path(f"/proc/{server.process.pid}")
    with Traffic(server.port, [HEALTH], pause=HEALTH_PAUSE) as health:
        (process / "clear_refs").write_text("5")  # the peak is counted from here
        before = kibibytes(process, "VmRSS")
        answer = answer_to(prepared, target, "127.0.0.1", server.port)
        time.sleep(0.02)
    memory = (kibibytes(process, "VmHWM") - before) / 1024
    slowest = max(reply.seconds if reply.status == 200 else float("inf") for reply in health.replies)
    return Cost(attack, status_of(answer), memory, 1e3 * slowest)


def judged(costs: dict[str, list[Cost]], pixels: int) -> Iterator[Figure]:
    for name, family in costs.items():
        most, slowest = max(family, key=lambda cost: cost.memory), max(family, key=lambda cost: cost.health)
        figure = f"{len(family)} attacks; most memory {most.memory:.0f} MiB ({most.attack.name}), "
        yield Figure(name, figure + f"slowest health check {slowest.health:.0f} ms ({slowest.attack.name})")
    every = [cost for family in costs.values() for cost in family]
    yield at_least("attacks", len(every), 60)
    wrong = [f"{cost.attack.name}: {cost.status}" for cost in every if cost.status not in cost.attack.statuses]
    yield Figure("with another answer than theirs", "; ".join(wrong) or "none", "none", not wrong)
    for_decoding = BYTES_PER_PIXEL * pixels / 2**20
    beyond = max(cost.memory - (for_decoding if cost.attack.decodes else 0.0) for cost in every)
    yield at_most("most memory beyond decoding", beyond, MEMORY_LIMIT, "MiB")
    decoding = max((cost.memory for cost in every if cost.attack.decodes), default=0.0)
    per_pixel = decoding * 2**20 / pixels
    yield at_most("most memory of a picture of 25 megapixels, per pixel", per_pixel, BYTES_PER_PIXEL, "bytes")
    yield at_most("slowest /health/live meanwhile", max(cost.health for cost in every), HEALTH_LIMIT, "ms")


def kibibytes(process: Path, field: str) -> int:
    """Return a size that /proc gives for a process."""
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
