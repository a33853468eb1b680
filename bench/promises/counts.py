"""Promise 9: random traffic with faults, then what the client saw beside what the service counted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.promises.bundles import IMAGES, SHIPPED
from bench.promises.findings import Finding, exactly
from bench.promises.load import Answer, Caller, post
from bench.promises.metrics import Metrics, all_ready, get, wait_until
from bench.replicas import replicas

REQUESTS, IMAGES_RUN = "contraflow_requests_total", "contraflow_images_total"
LATENCY, STAGES = "contraflow_request_duration_seconds", "contraflow_request_stage_seconds"
BATCHES = "contraflow_batch_size"
HOST = "127.0.0.1"
OUTCOMES = ("answered", "refused", "cancelled", "failed")


@dataclass
class Log:
    """What the client saw: requests by outcome, and the images that must have been run for them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    images: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind of request: what is sent, how many images of it are run, what it must come to.

    One that is cancelled goes away in the middle of its body.
    """

    request: bytes
    images: int
    outcome: str


def kinds(models: list[str], image: bytes, failing: bytes | None = None) -> list[Kind]:
    """Good ones with one image and with several, refused ones of every sort, and failing ones where there are."""
    several = b"".join(b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\n%s\r\n' % image for _ in range(3))
    multipart = "Content-Type: multipart/form-data; boundary=b"
    raw = "Inference-Header-Content-Length: 0"
    found = [
        *(Kind(post(f"/predict?model={model}", image), 1, "answered") for model in models),
        *(Kind(post(f"/predict?model={model}", several + b"--b--\r\n", multipart), 3, "answered") for model in models),
        *(Kind(post(f"/v2/models/{model}/infer", image, raw), 1, "answered") for model in models),
        Kind(post("/predict", image)[:-10], 0, "cancelled"),
        Kind(post("/predict"), 0, "refused"),
        Kind(post("/predict", b"no image"), 0, "refused"),
        Kind(post("/predict", image[: len(image) // 4]), 0, "refused"),
        Kind(post("/predict?model=nobody", image), 0, "refused"),
        Kind(post("/predict", image, "X-Deadline-Ms: none"), 0, "refused"),
        Kind(post("/nowhere", image), 0, "refused"),
        Kind(post(f"/v2/models/{models[0]}/infer", b"{}"), 0, "refused"),
    ]
    return found + ([Kind(failing, 1, "failed")] if failing else [])


def measure() -> Iterator[Finding]:
    """Three thousand requests from eight clients."""
    with replicas(1, SHIPPED, "--log-level", "error") as (service,):
        wait_until(lambda: all_ready(service.port))
        image = (IMAGES / "cat.jpg").read_bytes()
        yield from agreement(service.port, kinds(["resnet20", "plain20"], image), 3000, 8)


def agreement(port: int, among: list[Kind], requests: int, clients: int, seed: int = 0) -> Iterator[Finding]:
    """Plays requests drawn at random, and compares /metrics and the statistics with the client's log."""
    before, counted = Metrics(port), _statistics(port)
    log = asyncio.run(_play(port, among, requests, clients, random.Random(seed)))
    settled = sum(log.outcomes.values())
    wait_until(lambda: _grown(before, Metrics(port), REQUESTS) >= settled)
    after = Metrics(port)
    yield from _compared(log, before, after, _statistics(port) - counted)


def _compared(log: Log, before: Metrics, after: Metrics, statistics: int) -> Iterator[Finding]:
    for outcome in OUTCOMES:
        counted = _grown(before, after, REQUESTS, outcome=outcome)
        yield exactly(f"requests {outcome}: /metrics beside the client's log", counted, log.outcomes[outcome])
    yield exactly("requests − answered − refused − cancelled − failed", _rest(before, after), 0)
    ran = _grown(before, after, IMAGES_RUN)
    yield exactly("images run: /metrics beside the client's log", ran, log.images)
    yield exactly("images run beside Σ batch size", ran, _grown(before, after, f"{BATCHES}_sum"))
    yield exactly("images run beside the statistics under /v2", ran, statistics)
    latency = after.total(f"{LATENCY}_sum") - before.total(f"{LATENCY}_sum")
    stages = after.total(f"{STAGES}_sum") - before.total(f"{STAGES}_sum")
    apart = abs(latency - stages)
    yield Finding(
        "Σ latency − Σ (queue + decode + run + serialize)",
        f"{apart:.1e} s",
        "0 to rounding",
        apart < 1e-9 * max(1.0, latency),
    )


def _rest(before: Metrics, after: Metrics) -> int:
    return _grown(before, after, REQUESTS) - sum(_grown(before, after, REQUESTS, outcome=name) for name in OUTCOMES)


def _grown(before: Metrics, after: Metrics, name: str, **labels: str) -> int:
    """By how much a count grew. Reading /metrics is a request too, and is left out."""

    def total(metrics: Metrics) -> float:
        own = metrics.total(name, **labels, route="/metrics") if name == REQUESTS else 0.0
        stats = metrics.total(name, **labels, route="/v2/models/stats") if name == REQUESTS else 0.0
        return metrics.total(name, **labels) - own - stats

    return round(total(after) - total(before))


def _statistics(port: int) -> int:
    return sum(entry["inference_count"] for entry in get(port, "/v2/models/stats")["model_stats"])


async def _play(port: int, among: list[Kind], requests: int, clients: int, generator: random.Random) -> Log:
    log = Log()
    left = iter(range(requests))

    async def client() -> None:
        for _ in left:
            kind = generator.choice(among)
            outcome = await (_leave if kind.outcome == "cancelled" else _ask)(port, kind.request)
            log.outcomes[outcome if outcome == kind.outcome else f"{outcome} in place of {kind.outcome}"] += 1
            log.images += kind.images

    await asyncio.gather(*[client() for _ in range(clients)])
    return log


async def _ask(port: int, request: bytes) -> str:
    """What one request on a connection of its own came to, by the status of its answer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Answer] = loop.create_future()
    _, caller = await loop.create_connection(lambda: Caller(lambda _, answer: done.set_result(answer)), HOST, port)
    caller.ask(request, 0, loop.time())
    status = (await done).status
    caller.transport.close()
    return "answered" if status < 400 else "failed" if status in (500, 504) else "refused"


async def _leave(port: int, request: bytes) -> str:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    writer.close()
    await writer.wait_closed()
    return "cancelled"
