"""Asks a request for its key, and says whose it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from service.errors import Unauthorized
from service.http.keys.ring import KeyRing, KnownKey

OPEN_PATHS: Final = (
    "/health/",
    "/v2/health/",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/static/",
    "/guide",
    "/favicon.ico",
)
"""Paths that need no key: probes send none, nor does a browser that opens the documentation to enter one."""

PAGE: Final = "/"
"""The page needs none either: it holds no secret, and has the field to enter a key."""

METRICS: Final = "/metrics"
"""The one path that keys of their own open."""


class Access:
    """Checks the key of a request, and its rate. Without keys, everyone may call."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self.asks = ring.metrics_need_key or ring.calls_need_key
        """True if anything needs a key."""

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> str:
        """Check the key in `Authorization: Bearer` or `X-API-Key`, use its rate, and return its name, if it has one.

        OPTIONS needs no key: it says nothing that the documentation does not, and browsers ask it without one.

        Raises:
            Unauthorized: the key is missing, not known, or opens something else.
            RateLimited: the key has used its rate.
        """
        if not self.asks or not self.needs_key(method, path):
            return ""
        known = self._known(headers)
        if known is None:
            raise Unauthorized("Send a valid key as `Authorization: Bearer …` or `X-API-Key: …`.")
        if known.only_metrics and path != METRICS:
            raise Unauthorized(f"This key opens {METRICS} alone.")
        if known.allowance is not None:
            known.allowance.use(time.monotonic())
        return known.name

    def admits(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the key opens everything, or none is needed; uses nothing of its rate."""
        if not self._ring.calls_need_key:
            return True
        known = self._known(headers)
        return known is not None and not known.only_metrics

    def needs_key(self, method: str, path: str) -> bool:
        """Return whether a request needs a key."""
        if method == "OPTIONS":
            return False
        if path == METRICS:
            return self._ring.metrics_need_key
        return self._ring.calls_need_key and path != PAGE and not path.startswith(OPEN_PATHS)

    def _known(self, headers: Mapping[bytes, bytes]) -> KnownKey | None:
        authorization = headers.get(b"authorization", b"")
        key = authorization[7:] if authorization[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        return self._ring.known(key)
