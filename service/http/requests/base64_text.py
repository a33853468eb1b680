"""Decodes images in base64 as clients write it: in lines, in either alphabet, without padding, as a data URL."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from io import BytesIO

from service.errors import MalformedRequest

BASE64_PIECE = 2**20
"""Characters decoded at a time, so that a large image does not hold the interpreter for long."""

_DATA_URL = re.compile(r"\s{0,64}data:([^,]{0,200}),", re.IGNORECASE)
_OTHER_URL = re.compile(r"\s{0,64}[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_TO_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")
_LINE_ENDS = b"\r\n\t"
_PERCENT_CODES = {code % ord(one): one for one in "+/=-_\r\n" for code in ("%%%02X", "%%%02x")}


def from_base64(text: str) -> bytes:
    """Return the bytes of a text in base64 (RFC 4648, 4 and 5), or of a data URL in base64 (RFC 2397).

    Line ends and tabs anywhere, and spaces around the text, are ignored; the padding may be missing. Anything else is
    refused, so that no damaged image passes for a good one.

    Raises:
        MalformedRequest: not base64, or a URL from which the image would have to be fetched.
    """
    url = _DATA_URL.match(text)
    if url is not None and not url[1].rstrip().lower().endswith(";base64"):
        raise MalformedRequest("A data URL of an image must be base64: `data:image/png;base64,…`.")
    if url is None and _OTHER_URL.match(text):
        raise MalformedRequest("URLs are not fetched; send the picture itself, in base64.")
    try:
        pieces = _decoded(_pieces_of_url(text, url.end()) if url is not None else _pieces(text))
        whole = BytesIO()  # holds each byte once, where pieces to be joined would hold it twice
        whole.writelines(pieces)
        return whole.getvalue()
    except ValueError:
        lost = " It has spaces where a `+` may have stood." if " " in text else ""
        raise MalformedRequest(f"An image is not valid base64.{lost}") from None


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), BASE64_PIECE):
        yield text[start : start + BASE64_PIECE]


def _pieces_of_url(text: str, start: int) -> Iterator[str]:
    """Return pieces with their percent codes decoded; none is cut in two."""
    while start < len(text):
        end = start + BASE64_PIECE
        end += text.rfind("%", end - 2, end) + 3 - end if "%" in text[end - 2 : end] else 0
        piece = text[start:end]
        for code, character in _PERCENT_CODES.items():
            piece = piece.replace(code, character)
        yield piece
        start = end


def _decoded(pieces: Iterator[str]) -> Iterator[bytes]:
    """Decode the pieces.

    Raises:
        ValueError: not base64; spaces and padding may only be at the end, and the padding must be right or missing.
    """
    rest, padding, begun, ended = b"", 0, False, False
    for piece in pieces:
        spaced = piece.encode("ascii").translate(_TO_ONE_ALPHABET, _LINE_ENDS)
        spaced = spaced if begun else spaced.lstrip(b" ")
        text = spaced.rstrip(b" ")
        digits, equals, behind = text.partition(b"=")
        if (digits and padding) or behind.strip(b"=") or (text and ended):
            raise ValueError("something follows the end")
        begun = begun or bool(text)
        ended = ended or (begun and len(text) < len(spaced))
        padding += len(equals) + len(behind)
        digits = rest + digits
        whole = len(digits) // 4 * 4
        yield binascii.a2b_base64(digits[:whole], strict_mode=True)
        rest = digits[whole:]
    if padding and (padding > 2 or (len(rest) + padding) % 4):
        raise ValueError("the padding is wrong")
    if rest:
        yield binascii.a2b_base64(rest + b"=" * (4 - len(rest)), strict_mode=True)
