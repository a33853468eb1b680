"""Tells browsers which pages of other origins may call (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

A browser shows a page nothing of another origin's answer, not even the status of an error, unless the answer allows
it. Before most requests it asks first, by OPTIONS: the preflight. The service answers every origin all the same,
because obeying is the browser's matter. It takes no cookies, so that no page can use another's rights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from service.http.answers.responses import RawHeaders
from service.settings.values import ANY

REQUEST_HEADERS: Final = (
    b"Authorization, Baggage, Cache-Control, Content-Encoding, Content-Type, Inference-Header-Content-Length, "
    b"Traceparent, Tracestate, X-API-Key, X-Deadline-Ms, X-Request-Id"
)
"""Headers that a page may set, beside those that it always may."""

EXPOSED: Final = (
    b"access-control-expose-headers",
    b"Allow, Content-Encoding, Inference-Header-Content-Length, Retry-After, Server-Timing, Traceparent, "
    b"WWW-Authenticate, X-Request-Id",
)
"""Headers that a page may read, beside those that it always may."""

SECONDS_KEPT: Final = b"7200"
"""Seconds for which a browser may remember a preflight; Chromium remembers none longer."""

BY_ORIGIN: Final = (b"vary", b"origin")
ANYONE: Final[RawHeaders] = [(b"access-control-allow-origin", b"*"), EXPOSED]


class CrossOrigin:
    """Headers for the pages of the origins that the settings name."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, fields: Mapping[bytes, bytes]) -> RawHeaders:
        """Return the headers of every answer to a request with these fields, of errors too."""
        if self._any:
            return ANYONE
        origin = fields.get(b"origin", b"")
        if origin in self._origins:
            return [(b"access-control-allow-origin", origin), EXPOSED, BY_ORIGIN]
        return [BY_ORIGIN]

    def is_preflight(self, fields: Mapping[bytes, bytes]) -> bool:
        """Return whether OPTIONS with these fields is a preflight for a page that may call."""
        asks = b"access-control-request-method" in fields and b"origin" in fields
        return asks and (self._any or fields[b"origin"] in self._origins)

    def permission(self, fields: Mapping[bytes, bytes], methods: str) -> RawHeaders:
        """Return what the answer to a preflight has beside `headers`.

        A page on the internet that calls into a private network needs a permission more; only an origin that is named
        gets it.
        """
        headers: RawHeaders = [
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", SECONDS_KEPT),
        ]
        if not self._any and fields.get(b"access-control-request-private-network") == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers
