"""The load generator: a closed loop whose every answer is checked."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.client import Reply, post
from bench.harness.load import Traffic, lasting, open_loop


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
) -> dict[str, float]:
    """Load a server for `seconds`, and return the figures of one run, as `Row.results` has them.

    `check` judges an answer by the position of its request among `requests`.
    """
    traffic = CheckedTraffic(port, requests, connections, check)
    began, own = time.perf_counter(), time.process_time()
    traffic.play(lasting(seconds))
    elapsed, own = time.perf_counter() - began, time.process_time() - own
    p50, p99 = np.percentile(np.array(traffic.right or [np.nan]) * 1e3, [50, 99])
    right, wrong = len(traffic.right), traffic.wrong
    figures = {"right": right, "wrong": wrong, "rate": right / elapsed, "p50": float(p50), "p99": float(p99)}
    return {**figures, "own_cpu": 1e6 * own / max(1, right + wrong)}


def first_label_is(labels: Sequence[str]) -> Callable[[int, bytes], bool]:
    """Return a check that of all `labels` that of the request comes first: every server ranks its best label first."""
    any_label = re.compile(b'"(' + b"|".join(re.escape(label.encode()) for label in sorted(set(labels))) + b')"')
    wanted = [label.encode() for label in labels]

    def check(number: int, body: bytes) -> bool:
        found = any_label.search(body)
        return found is not None and found[1] == wanted[number]

    return check


def as_json(document: Callable[[str], Any]) -> tuple[str, Callable[[bytes], bytes]]:
    return "application/json", lambda image: json.dumps(document(base64.b64encode(image).decode())).encode()


def infer_request(image: str) -> dict[str, Any]:
    """Return a request of the open protocol."""
    described = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    return {"inputs": [{**described, "data": [image]}]}


BODIES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "raw": ("application/octet-stream", lambda image: image),
    "json": as_json(lambda image: {"image": image}),
    "json list": as_json(lambda image: {"image": [image]}),
    "v2": as_json(infer_request),
}
"""Content type and body of an image, for each kind of server."""


def load_with_images(
    port: int, path: str, body: str, images: str, connections: int, seconds: float
) -> dict[str, float]:
    """Load a server with the photographs that the file `images` lists."""
    listed: list[tuple[str, str]] = json.loads(Path(images).read_text())
    content_type, encode = BODIES[body]
    requests = [post(path, encode(Path(file).read_bytes()), f"Content-Type: {content_type}") for file, _ in listed]
    return load(port, requests, first_label_is([label for _, label in listed]), connections, seconds)


def answer_times(port: int, images: str, rate: float, seconds: float) -> list[float]:
    """Send the photographs that the file `images` lists at `rate` per second; return the seconds until each answer.

    Raises:
        RuntimeError: a request was not answered.
    """
    listed: list[tuple[str, str]] = json.loads(Path(images).read_text())
    requests = [post("/predict", Path(file).read_bytes()) for file, _ in listed]
    replies = open_loop(port, requests, rate, seconds)
    if any(reply.status != 200 for reply in replies):
        raise RuntimeError("not every request was answered")
    return [reply.seconds for reply in replies]
