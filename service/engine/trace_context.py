"""The caller's trace: the headers `traceparent` and `tracestate` of W3C Trace Context (level 1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
LONGEST_STATE: Final = 512
"""Bytes of `tracestate` that are kept, as the specification asks at least."""


class TraceContext(NamedTuple):
    """The span of the caller that a request belongs to; or the request's own span, if it is recorded."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: int
    """Bit 0 is set if the caller records this trace."""
    state: str
    parent: str | None = None
    """The caller's span, if this one is the request's own: 16 hexadecimal digits, or "" where the trace begins here."""

    @property
    def sampled(self) -> bool:
        """True if the caller records this trace."""
        return bool(self.flags & 1)

    def header(self) -> bytes:
        """Return the `traceparent` that names this span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}".encode()


def read_trace(fields: Mapping[bytes, bytes]) -> TraceContext | None:
    """Return the trace that the headers name; None if they name none, or one that breaks the rules (section 3.2)."""
    given = fields.get(b"traceparent")
    match = None if given is None else TRACEPARENT.fullmatch(given.strip())
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    state = fields.get(b"tracestate", b"")
    kept = state.decode("latin-1") if len(state) <= LONGEST_STATE else ""
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16), kept)
