"""Who may call: API keys, known to the service by their digests only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from service.errors import Unauthorized

OPEN_PATHS = ("/health/", "/v2/health/")
"""Probes carry no keys."""


class Access:
    """Checks a request's key against sha256 digests; with none configured, everyone may call."""

    def __init__(self, digests: Sequence[str]) -> None:
        self._digests = [bytes.fromhex(digest.removeprefix("sha256:")) for digest in digests]

    def check(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Raises `Unauthorized` unless `Authorization: Bearer` or `X-API-Key` holds a known key."""
        if not self._digests or path.startswith(OPEN_PATHS):
            return
        authorization = headers.get(b"authorization", b"")
        key = authorization[7:] if authorization[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        if not self._known(hashlib.sha256(key.strip()).digest()):
            raise Unauthorized("Send a valid key as `Authorization: Bearer …` or `X-API-Key: …`.")

    def _known(self, digest: bytes) -> bool:
        """Compares with every key, each in constant time, so that time tells nothing."""
        return sum([hmac.compare_digest(digest, known) for known in self._digests]) > 0
