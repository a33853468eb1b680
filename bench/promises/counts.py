"""Promise 9: random traffic with faults, then the client's counts beside the service's."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.harness.client import Client, post, run
from bench.harness.figures import Figure, exactly
from bench.harness.paths import CAT, SHIPPED
from bench.harness.readings import IMAGES_RUN, REQUESTS, Metrics, get, wait_until
from bench.harness.server import service

LATENCY, STAGES = "contraflow_request_duration_seconds", "contraflow_request_stage_seconds"
BATCHES = "contraflow_batch_size"
OUTCOMES = ("answered", "refused", "cancelled", "failed")
READ_BY_US = ("/metrics", "/v2/models/stats")
"""Routes whose requests are this measurement's own readings."""
ALL, CLIENTS = 3000, 8


@dataclass(frozen=True)
class Kind:
    """One kind of request: what is sent, how many images of it are run, and what it must come to.

    The client of one that is cancelled goes away in the middle of its body.
    """

    request: bytes
    images: int
    outcome: str


def kinds(models: Sequence[str], image: bytes, failing: bytes | None = None) -> list[Kind]:
    """Return good requests with one image and with several, refused ones of every sort, and `failing` if given."""
    several = b"".join(b'--b\r\nContent-Disposition: form-data; name="images"\r\n\r\n%s\r\n' % image for _ in range(3))
    multipart = "Content-Type: multipart/form-data; boundary=b"
    raw = "Inference-Header-Content-Length: 0"
    refused = [
        post("/predict"),
        post("/predict", b"no image"),
        post("/predict", image[: len(image) // 4]),
        post("/predict?model=nobody", image),
        post("/predict", image, "X-Deadline-Ms: none"),
        post("/nowhere", image),
        post(f"/v2/models/{models[0]}/infer", b"{}"),
    ]
    return [
        *(Kind(post(f"/predict?model={model}", image), 1, "answered") for model in models),
        *(Kind(post(f"/predict?model={model}", several + b"--b--\r\n", multipart), 3, "answered") for model in models),
        *(Kind(post(f"/v2/models/{model}/infer", image, raw), 1, "answered") for model in models),
        Kind(post("/predict", image)[:-10], 0, "cancelled"),
        *(Kind(request, 0, "refused") for request in refused),
        *([Kind(failing, 1, "failed")] if failing else []),
    ]


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Compare the counts after three thousand requests from eight clients."""
    with service(SHIPPED) as server:
        among = kinds(["resnet20", "plain20"], CAT.read_bytes())
        yield from agreement(server.port, among, round(ALL * scale), CLIENTS)


def agreement(port: int, among: Sequence[Kind], requests: int, clients: int, seed: int = 0) -> Iterator[Figure]:
    """Play requests drawn at random, and compare /metrics and the statistics with what the clients saw."""
    before, counted = Metrics(port), statistics(port)
    outcomes, images = run(play(port, among, requests, clients, random.Random(seed)))
    wait_until(lambda: grown(before, Metrics(port)) >= outcomes.total())
    after = Metrics(port)
    by_outcome = {outcome: grown(before, after, outcome=outcome) for outcome in OUTCOMES}
    for outcome, count in by_outcome.items():
        yield exactly(f"requests {outcome}: /metrics beside the client's log", count, outcomes[outcome])
    rest = grown(before, after) - sum(by_outcome.values())
    yield exactly("requests − answered − refused − cancelled − failed", rest, 0)
    ran, in_batches = (round(after.grown_since(before, name)) for name in (IMAGES_RUN, f"{BATCHES}_sum"))
    yield exactly("images run: /metrics beside the client's log", ran, images)
    yield exactly("images run beside Σ batch size", ran, in_batches)
    yield exactly("images run beside the statistics under /v2", ran, statistics(port) - counted)
    latency, stages = (after.grown_since(before, f"{name}_sum") for name in (LATENCY, STAGES))
    apart, what = abs(latency - stages), "Σ latency − Σ (queue + decode + run + serialize)"
    yield Figure(what, f"{apart:.1e} s", "0 to rounding", apart < 1e-9 * max(1.0, latency))


def grown(before: Metrics, after: Metrics, **labels: str) -> int:
    """Return by how much the count of requests grew, without our own readings."""
    ours = sum(after.grown_since(before, REQUESTS, **labels, route=route) for route in READ_BY_US)
    return round(after.grown_since(before, REQUESTS, **labels) - ours)


def statistics(port: int) -> int:
    """Return the images run, by the statistics of the open protocol."""
    return sum(entry["inference_count"] for entry in get(port, "/v2/models/stats")["model_stats"])


async def play(
    port: int, among: Sequence[Kind], requests: int, clients: int, generator: random.Random
) -> tuple[Counter[str], int]:
    """Return the requests as the clients saw them, by outcome, and the images that must have been run for them."""
    outcomes: Counter[str] = Counter()
    images = 0
    left = iter(range(requests))

    async def client() -> None:
        nonlocal images
        for _ in left:
            kind = generator.choice(among)
            outcome = await ask(port, kind)
            outcomes[outcome if outcome == kind.outcome else f"{outcome} in place of {kind.outcome}"] += 1
            images += kind.images

    await asyncio.gather(*[client() for _ in range(clients)])
    return outcomes, images


async def ask(port: int, kind: Kind) -> str:
    """Send one request on a connection of its own, and return what it came to."""
    client = Client(port)
    if kind.outcome == "cancelled":
        await client.send(kind.request)
        client.close()
        return "cancelled"
    status = (await client.ask(kind.request)).status
    client.close()
    return "answered" if 200 <= status < 400 else "failed" if status in (500, 504) else "refused"
