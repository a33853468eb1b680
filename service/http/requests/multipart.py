"""Splits multipart bodies into their parts (RFC 2046, 5.1; RFC 7578).

Bytes before the first boundary and after the last are ignored.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import unquote

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from service.errors import MalformedRequest, TooLarge
from service.http.answers.header_fields import parameters
from service.http.requests.base64_text import from_base64

SEARCHED_PIECE = 2**20
"""Bytes searched at a time, so that a large body does not hold the interpreter for long."""

MOST_QUOTED_PRINTABLE = 2**20
"""Bytes that a part in quoted-printable may have: decoding it holds the interpreter from start to end."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: the name of its field (empty if it has none), the name of its file, its media type, and its content.

    `file_name` is None if the part is not a file; `media_type` is empty if none is given.
    """

    name: str
    file_name: str | None
    media_type: str
    charset: str
    content: bytes


class _Parser(PushMultipartParser):  # type: ignore[misc]  # the library has no marker for typing
    """A parser that also accepts parts of `multipart/mixed`, which have no `Content-Disposition`."""

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> MultipartSegment:
        return MultipartSegment(headerlist)


def parts_of(body: bytes, boundary: bytes, most: int) -> Iterator[Part]:
    """Return the parts of a multipart body, in order.

    Raises:
        MalformedRequest: no boundary line, none at the end, or a part that cannot be parsed.
        TooLarge: more than `most` parts, or a head of a part over the parser's limits.
    """
    head: MultipartSegment | None = None
    content = BytesIO()
    try:
        with _Parser(boundary, max_segment_count=most, header_charset="latin-1") as parser:
            for start in range(0, len(body), SEARCHED_PIECE):
                for event in parser.parse(body[start : start + SEARCHED_PIECE]):
                    if isinstance(event, MultipartSegment):
                        head, content = event, BytesIO()
                    elif event is not None:
                        content.write(event)
                    elif head is not None:
                        yield _part(head, content)
            _require_the_end(parser)
    except ParserLimitReached as error:
        raise TooLarge(f"The multipart body is over a limit: {error}.") from None
    except MultipartError as error:
        raise MalformedRequest(f"The multipart body cannot be read: {error}.") from None


def _require_the_end(parser: _Parser) -> None:
    """Raise `MalformedRequest` unless the last boundary was found."""
    try:
        parser.close()
    except MultipartError:
        raise MalformedRequest(
            "The multipart body does not end with the boundary that its content type names: "
            "it is cut short, or the boundary is another."
        ) from None


def _part(head: MultipartSegment, content: BytesIO) -> Part:
    media_type = head.content_type or ""
    if media_type.startswith("multipart/"):
        raise MalformedRequest("A multipart body inside another is unsupported; send every file as a part of its own.")
    encoding = head.header("Content-Transfer-Encoding", "").strip()
    return Part(_utf_8(head.name or ""), _file_name(head), media_type, head.charset or "", _decoded(content, encoding))


def _file_name(head: MultipartSegment) -> str | None:
    """Return the name of the part's file; older clients give it in `filename*` only (RFC 5987)."""
    if head.filename is not None:
        return _utf_8(head.filename)
    extended = parameters(head.header("Content-Disposition", ""))[1].get("filename*")
    return None if extended is None else unquote(extended.rpartition("'")[2])


def _utf_8(field: str) -> str:
    """Decode a name that was read as Latin-1, so that bytes which are not UTF-8 spoil that name and not the body."""
    return field.encode("latin-1").decode("utf-8", "replace")


def _decoded(content: BytesIO, encoding: str) -> bytes:
    """Return the content of a part without its `Content-Transfer-Encoding`, which few clients still use."""
    name = encoding.lower()
    if name in ("", "binary", "8bit", "7bit"):
        return content.getvalue()
    if name == "base64":
        text = str(content.getbuffer(), "latin-1")
        content.close()  # or a large part would be in memory twice while it is decoded
        return from_base64(text)
    if name == "quoted-printable":
        if len(content.getbuffer()) > MOST_QUOTED_PRINTABLE:
            raise TooLarge(
                f"A part in quoted-printable has at most {MOST_QUOTED_PRINTABLE} bytes; send files as they are."
            )
        return binascii.a2b_qp(content.getvalue())
    raise MalformedRequest(
        f"The content transfer encoding {encoding[:32]!r} is unsupported; send the bytes as they are."
    )
