"""The right answer of every request that may succeed, asked for once before the soak.

Runs of different batch sizes differ in the last bits of a float32, so numbers are compared with a
tolerance; everything else must be equal. Another picture's or another bundle's answer is far
outside it.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from bench.harness.client import Client

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""Tolerance of numbers. Losses and probabilities near 0 are differences of float32 near 1: hence the absolute part."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


class StoredAnswers:
    """The right answers to each request: several where its bundle alternates between variants."""

    def __init__(self) -> None:
        self._answers: dict[bytes, list[bytes]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._answers.values()))

    async def store(self, requests: Iterable[bytes], client: Client) -> None:
        """Ask one request after the other, and keep the answers.

        Raises:
            RuntimeError: one is not answered with 200.
        """
        for request in requests:
            reply = await client.ask(request)
            if reply.status != 200:
                raise RuntimeError(f"{request[:80]!r} was answered {reply.status}: {reply.body[:200]!r}")
            self._answers[request].append(reply.body)

    def confirm(self, request: bytes, body: bytes) -> bool:
        """Return whether `body` is one of the right answers."""
        stored = self._answers[request]
        return body in stored or any(alike(body, right) for right in stored)


def alike(one: bytes, other: bytes) -> bool:
    """Return whether two answers, JSON or SVG, say the same up to the tolerance of numbers."""
    if one.startswith(b"{") and other.startswith(b"{"):
        return _same(json.loads(one), json.loads(other))
    texts, other_texts = one.decode(), other.decode()
    numbers, other_numbers = (list(map(float, NUMBER.findall(text))) for text in (texts, other_texts))
    return NUMBER.sub("#", texts) == NUMBER.sub("#", other_texts) and _same(numbers, other_numbers)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
