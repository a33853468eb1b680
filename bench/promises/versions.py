"""Promise 4: clients on fresh and on kept connections, while a bundle is replaced a hundred times, and at the end."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.bundles.copies import digest_of, install, with_labels_reversed
from bench.harness.client import BROKEN, Reply, post
from bench.harness.figures import Figure, exactly
from bench.harness.load import Traffic
from bench.harness.paths import CAT, SHIPPED
from bench.harness.readings import get, wait_until
from bench.harness.server import Server, service

RELOADS = 100
CLIENTS = 4
DRAIN = 5.0
NAME = "resnet20"
LABEL = "cat"


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Replace the bundle again and again, then send SIGTERM while the clients go on."""
    with tempfile.TemporaryDirectory() as temporary:
        bundles = Path(temporary) / "bundles"
        bundles.mkdir()
        variants = [SHIPPED / NAME, with_labels_reversed(SHIPPED / NAME, Path(temporary) / NAME)]
        install(variants[0], bundles / NAME)
        with service(bundles, "--bundle-poll-seconds", "0.05", "--drain-delay", str(DRAIN)) as server:
            yield from played(server, bundles / NAME, variants, max(2, round(RELOADS * scale)))


def played(server: Server, target: Path, variants: Sequence[Path], reloads: int) -> Iterator[Figure]:
    requests = [post("/predict?top_k=1", CAT.read_bytes())]
    with Traffic(server.port, requests, CLIENTS, fresh=True) as traffic:
        for number in range(1, reloads + 1):
            replace(target, variants[number % 2], server.port)
        reloaded = len(traffic.replies)
        server.process.terminate()
        signalled = time.monotonic()
        status = server.process.wait(DRAIN + 30)
        ended = time.monotonic() - signalled
        time.sleep(0.2)
    before, after = traffic.replies[:reloaded], traffic.replies[reloaded:]
    labels = {digest_of(variant): expected_label(variants, variant) for variant in variants}
    right = [reply for reply in before if is_right(reply, labels)]
    yield Figure("reloads while clients asked", f"{reloads}, {len(before):,} requests")
    yield exactly("bundles whose answers were seen", len({best(reply)[0] for reply in right}), len(variants))
    yield exactly("answers that were not 200 and right, or mixed bundles", len(before) - len(right), 0)
    kinds = Counter(kind(reply, signalled, labels) for reply in after)
    yield Figure("after SIGTERM", ", ".join(f"{count:,} {name}" for name, count in sorted(kinds.items())))
    yield exactly("neither right, 503 with Retry-After, nor refused after the drain", kinds["lost"], 0)
    yield exactly("exit status", status, 0)
    yield Figure("ended after SIGTERM, with a drain of 5 s, within", f"{ended:.1f} s")


def replace(target: Path, variant: Path, port: int) -> None:
    """Install a variant, and wait until the service serves it."""
    install(variant, target)
    digest = digest_of(variant)
    wait_until(lambda: get(port, "/models")["models"][0]["bundle"] == digest)


def expected_label(variants: Sequence[Path], variant: Path) -> str:
    """Return a variant's answer to the cat: its list of labels is the original's, or that one backwards."""
    original, own = (json.loads((each / "bundle.json").read_text())["labels"] for each in (variants[0], variant))
    return str(own[original.index(LABEL)])


def best(reply: Reply) -> tuple[str, str]:
    """Return the digest of the bundle that answered, and its label."""
    document = json.loads(reply.body)
    return document["bundle"], document["predictions"][0]["labels"][0]["label"]


def is_right(reply: Reply, labels: dict[str, str]) -> bool:
    return reply.status == 200 and best(reply) in labels.items()


def kind(reply: Reply, signalled: float, labels: dict[str, str]) -> str:
    """Return the fate of a request after SIGTERM, in words."""
    if is_right(reply, labels):
        return "right"
    if reply.status == 503 and reply.says_when_to_retry:
        return "told to come back"
    drained = reply.sent + reply.seconds - signalled >= DRAIN
    return "refused after the drain" if reply.status == BROKEN and drained else "lost"
