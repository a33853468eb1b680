"""Chooses the form of an answer by `Accept` and `Accept-Encoding` (RFC 9110, 12.5)."""

from __future__ import annotations

from service.http.answers.header_fields import weights

CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
"""Content codings that the service reads and writes, by each of their names."""


def prefers(accept: str, this: str, to_that: str) -> bool:
    """Return whether a caller prefers the media type `this` to `to_that`; one who states no preference does not.

    Parameters of a media type other than `q` are ignored, and so is what cannot be parsed.
    """
    wanted = weights(accept)
    return _weight_of(this, wanted) > _weight_of(to_that, wanted)


def preferred_coding(accept_encoding: str) -> str | None:
    """Return the content coding of an answer: the one of `CODINGS` with the highest weight, the first among equals.

    None means no coding: none of `CODINGS` is named, or the plain answer (`identity`) has a higher weight. A caller
    who refuses the plain answer gets gzip if `*` allows it.
    """
    wanted = weights(accept_encoding)
    named = [name for name in wanted if name in CODINGS and wanted[name] > 0]
    best = max(named, key=lambda name: wanted[name], default=None)
    if best is not None:
        return CODINGS[best] if wanted[best] >= wanted.get("identity", 0.0) else None
    refused = wanted.get("identity") == 0.0
    return "gzip" if refused and wanted.get("*", 0.0) > 0 and wanted.get("gzip") != 0.0 else None


def _weight_of(media_type: str, wanted: dict[str, float]) -> float:
    """Return the weight of the most specific range that covers a media type; 0 if none does."""
    for covering in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if covering in wanted:
            return wanted[covering]
    return 0.0
