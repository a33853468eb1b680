"""The load generator, as a process of its own, so that the server's CPU time is the server's alone.

A closed loop whose every answer is checked; the result is printed as JSON.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.client import Reply, post
from bench.harness.load import Traffic, lasting


@dataclass(frozen=True)
class Result:
    """One run of the generator."""

    right: int
    wrong: int
    """Answers that are not the right one, and requests that were not answered."""
    seconds: float
    p50: float
    """Median time to a right answer in milliseconds."""
    p99: float
    own_cpu: float
    """The generator's own CPU time in µs per request."""


class CheckedTraffic(Traffic):
    """A closed loop that counts right answers, with their times, and wrong ones."""

    def __init__(self, port: int, requests: Sequence[bytes], clients: int, check: Callable[[int, bytes], bool]) -> None:
        super().__init__(port, requests, clients)
        self._count, self._check = len(requests), check
        self.right: list[float] = []
        self.wrong = 0

    def received(self, reply: Reply) -> None:
        if reply.status == 200 and self._check(reply.number % self._count, reply.body):
            self.right.append(reply.seconds)
        else:
            self.wrong += 1


def load(
    port: int, requests: Sequence[bytes], check: Callable[[int, bytes], bool], connections: int, seconds: float
) -> Result:
    """Load a server for `seconds`; `check` judges an answer by the position of its request among `requests`."""
    traffic = CheckedTraffic(port, requests, connections, check)
    began, own = time.perf_counter(), time.process_time()
    traffic.play(lasting(seconds))
    elapsed, own = time.perf_counter() - began, time.process_time() - own
    p50, p99 = np.percentile(np.array(traffic.right or [np.nan]) * 1e3, [50, 99])
    asked = max(1, len(traffic.right) + traffic.wrong)
    return Result(len(traffic.right), traffic.wrong, elapsed, float(p50), float(p99), 1e6 * own / asked)


def first_label_is(labels: Sequence[str]) -> Callable[[int, bytes], bool]:
    """Return a check that of all `labels` that of the request comes first: every server ranks its best label first."""
    any_label = re.compile(b'"(' + b"|".join(re.escape(label.encode()) for label in sorted(set(labels))) + b')"')
    wanted = [label.encode() for label in labels]

    def check(number: int, body: bytes) -> bool:
        found = any_label.search(body)
        return found is not None and found[1] == wanted[number]

    return check


def as_text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def as_tensor(image: bytes) -> dict[str, Any]:
    """Return an infer request of the open protocol."""
    described = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    return {"inputs": [{**described, "data": [as_text(image)]}]}


JSON = "application/json"
BODIES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "raw": ("application/octet-stream", lambda image: image),
    "json": (JSON, lambda image: json.dumps({"image": as_text(image)}).encode()),
    "json list": (JSON, lambda image: json.dumps({"image": [as_text(image)]}).encode()),
    "v2": (JSON, lambda image: json.dumps(as_tensor(image)).encode()),
}
"""Content type and body of an image, for each kind of server."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--body", choices=BODIES, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--images", type=Path, required=True, help="JSON: [[file, expected label], …]")
    options = parser.parse_args()
    images: list[tuple[str, str]] = json.loads(options.images.read_text())
    content_type, encode = BODIES[options.body]
    requests = [
        post(options.path, encode(Path(file).read_bytes()), f"Content-Type: {content_type}") for file, _ in images
    ]
    check = first_label_is([label for _, label in images])
    json.dump(asdict(load(options.port, requests, check, options.connections, options.seconds)), sys.stdout)


if __name__ == "__main__":
    main()
