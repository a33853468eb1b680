"""Who may call: API keys, known to the service by their digests only."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

from service.errors import RateLimited, Unauthorized

OPEN_PATHS = ("/health/", "/v2/health/", "/docs", "/redoc", "/openapi.json", "/static/", "/favicon.ico")
"""Probes carry no keys, nor does a browser that opens the documentation, where keys are entered."""


class Access:
    """Checks a request's key against sha256 digests, and its rate; with none configured, everyone may call."""

    def __init__(self, digests: Sequence[str], requests_per_second: float = 0.0) -> None:
        """`requests_per_second` is what each key may use, in the long run; 0 is no limit."""
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
        number = self._number(headers)
        if number is None:
            raise Unauthorized("Send a valid key as `Authorization: Bearer …` or `X-API-Key: …`.")
        if self._allowances:
            self._allowances[number].use(time.monotonic())

    def admits(self, headers: Mapping[bytes, bytes]) -> bool:
        """True if the key is known, or none is needed; nothing of its rate is used."""
        return not self._digests or self._number(headers) is not None

    def _number(self, headers: Mapping[bytes, bytes]) -> int | None:
        """Which key it is. Compares with every one, each in constant time, so that time tells nothing."""
        authorization = headers.get(b"authorization", b"")
        key = authorization[7:] if authorization[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        digest = hashlib.sha256(key.strip()).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return matches.index(True) if any(matches) else None


class Allowance:
    """A token bucket: `rate` requests per second in the long run, one second's worth (at least one) at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._since = time.monotonic()

    def use(self, now: float) -> None:
        """Raises `RateLimited` if nothing is left, with the time until something is."""
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            wait = (1 - self._left) / self._rate
            raise RateLimited(f"The key may send {self._rate:g} requests per second.", retry_after=wait)
        self._left -= 1
