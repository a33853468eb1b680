"""Decodes the content coding of bodies (`Content-Encoding`) piece by piece: a few bytes can expand to very many."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from service.errors import MalformedRequest, TooLarge, UnsupportedCoding
from service.http.answers.header_fields import members
from service.http.answers.negotiation import CODINGS

DECODED_PIECE = 2**20
"""Bytes that the decoder returns at a time, at most."""
ENCODED_PIECE = 2**16
"""Bytes that are given to the decoder at a time."""

MOST_MEMBERS = 1000
"""Members that one gzip body may have: enough for the largest in blocks of 64 KiB, and little work if all are empty."""
GZIP_SIGNATURE = b"\x1f\x8b"


def coding_of(content_encoding: str) -> str | None:
    """Return `gzip` or `deflate`; None if the body is not encoded.

    Raises:
        UnsupportedCoding: another coding, or more than one.
    """
    names = [name for member in members(content_encoding) if (name := member.lower()) != "identity"]
    unknown = [name for name in names if name not in CODINGS]
    if unknown:
        raise UnsupportedCoding(f"The content encoding {unknown[0][:32]!r} is unsupported; send gzip, deflate or none.")
    if len(names) > 1:
        raise UnsupportedCoding(f"The body is encoded {len(names)} times; encode it once.")
    return CODINGS[names[0]] if names else None


def decoded(body: bytes, coding: str) -> Iterator[bytes]:
    """Return the content, at most `DECODED_PIECE` bytes at a time.

    A gzip body may have several members. A deflate body has the wrapping of zlib, as RFC 9110 says, or none: some
    clients send that.

    Raises:
        MalformedRequest: the body is not in this coding, is cut off, or goes on after its end.
        TooLarge: more than `MOST_MEMBERS` members.
    """
    position = 0
    for _ in range(MOST_MEMBERS):
        reader = zlib.decompressobj(wbits=_window(body, coding))
        while not reader.eof:
            given = reader.unconsumed_tail
            if not given:
                given = body[position : position + ENCODED_PIECE]
                position += len(given)
            try:
                piece = reader.decompress(given, DECODED_PIECE)
            except zlib.error:
                raise MalformedRequest(f"The body is not {coding}, as its content encoding says.") from None
            if piece:
                yield piece
            elif not given:
                raise MalformedRequest(f"The {coding} body is cut off.")
        position -= len(reader.unused_data)
        if position == len(body):
            return
        if coding != "gzip" or not body.startswith(GZIP_SIGNATURE, position):
            raise MalformedRequest(f"{len(body) - position} bytes follow the end of the {coding} body.")
    raise TooLarge(f"The gzip body has more than {MOST_MEMBERS} members.")


def _window(body: bytes, coding: str) -> int:
    """Return zlib's `wbits` for the wrapping: gzip, zlib (its first two bytes are a multiple of 31), or none."""
    if coding == "gzip":
        return zlib.MAX_WBITS + 16
    wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
