"""Checks API keys and their rates; the service knows keys only by their digests."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

from service.errors import RateLimited, Unauthorized

OPEN_PATHS = ("/health/", "/v2/health/", "/docs", "/redoc", "/openapi.json", "/static/", "/favicon.ico")
"""Paths that need no key: probes send none, nor does a browser that opens the documentation to enter one."""


class Access:
    """Checks the key of a request against sha256 digests, and its rate. Without digests, everyone may call."""

    def __init__(self, digests: Sequence[str], requests_per_second: float = 0.0) -> None:
        """`requests_per_second` is the long-run rate of each key; 0 means no limit."""
        self._digests = [bytes.fromhex(digest.removeprefix("sha256:")) for digest in digests]
        self._allowances = [Allowance(requests_per_second) for _ in digests] if requests_per_second else []

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Check the key in `Authorization: Bearer` or `X-API-Key`, and use its rate.

        OPTIONS needs no key: it says nothing that the documentation does not, and browsers ask it without one.

        Raises:
            Unauthorized: the key is missing or not known.
            RateLimited: the key has used its rate.
        """
        if not self._digests or method == "OPTIONS" or path.startswith(OPEN_PATHS):
            return
        index = self._index(headers)
        if index is None:
            raise Unauthorized("Send a valid key as `Authorization: Bearer …` or `X-API-Key: …`.")
        if self._allowances:
            self._allowances[index].use(time.monotonic())

    def admits(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the key is known, or none is needed; uses nothing of its rate."""
        return not self._digests or self._index(headers) is not None

    def _index(self, headers: Mapping[bytes, bytes]) -> int | None:
        """Return the index of the key, compared with every digest in constant time, so that time reveals nothing."""
        authorization = headers.get(b"authorization", b"")
        key = authorization[7:] if authorization[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        digest = hashlib.sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return matches.index(True) if any(matches) else None


class Allowance:
    """A token bucket: `rate` requests per second in the long run, and those of one second (at least one) at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._since = time.monotonic()

    def use(self, now: float) -> None:
        """Take one request from the bucket.

        Raises:
            RateLimited: the bucket is empty; with the time until it is not.
        """
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            wait = (1 - self._left) / self._rate
            raise RateLimited(f"The key may send {self._rate:g} requests per second.", retry_after=wait)
        self._left -= 1
