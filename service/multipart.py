"""Multipart bodies taken into their parts (RFC 2046, 5.1; RFC 7578).

What stands before the first boundary and behind the last is left out.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from service.base64_text import from_base64
from service.errors import MalformedRequest, TooLarge

MOST_QUOTED_PRINTABLE = 2**20
"""Bytes; it is decoded in one go, in which nothing else moves."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its field's name (empty if it has none), the name of its file, its media type, and its content.

    `file_name` is None where the part is no file, `media_type` is empty where none is given.
    """

    name: str
    file_name: str | None
    media_type: str
    charset: str
    content: bytes


class _Parser(PushMultipartParser):  # type: ignore[misc]  # the library has no marker for typing
    """Takes parts of `multipart/mixed` too, which have no `Content-Disposition`."""

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> MultipartSegment:
        return MultipartSegment(headerlist)


def parts_of(body: bytes, boundary: bytes, most: int) -> Iterator[Part]:
    """The parts of a multipart body, in order.

    Raises:
        MalformedRequest: no boundary line, none at the end, or a part that cannot be read.
        TooLarge: more than `most` parts, or a head of a part over the parser's limits.
    """
    dashed = b"--" + boundary
    if dashed not in body:
        raise MalformedRequest("The multipart body has no line with the boundary that its content type names.")
    if dashed + b"--" not in body:
        raise MalformedRequest("The multipart body is cut short: it does not end with its boundary.")
    try:
        with _Parser(boundary, max_segment_count=most, header_charset="latin-1") as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    head, content = event, b""
                elif event is not None:
                    content += event  # added to nothing, a part's only piece is not copied again
                else:
                    yield _part(head, content)
    except ParserLimitReached as error:
        raise TooLarge(f"The multipart body is over a limit: {error}.") from None
    except MultipartError as error:
        raise MalformedRequest(f"The multipart body cannot be read: {error}.") from None


def _part(head: MultipartSegment, content: bytes) -> Part:
    media_type = head.content_type or ""
    if media_type.startswith("multipart/"):
        raise MalformedRequest("A multipart body inside another is not taken; send every file as a part of its own.")
    encoding = head.header("Content-Transfer-Encoding", "").strip()
    file_name = None if head.filename is None else _utf_8(head.filename)
    return Part(_utf_8(head.name or ""), file_name, media_type, head.charset or "", _decoded(content, encoding))


def _utf_8(field: str) -> str:
    """A name that was read as Latin-1, so that bytes which are no UTF-8 spoil that name and not the body."""
    return field.encode("latin-1").decode("utf-8", "replace")


def _decoded(content: bytes, encoding: str) -> bytes:
    """The content of a part without its `Content-Transfer-Encoding`, which few clients still give."""
    name = encoding.lower()
    if name in ("", "binary", "8bit", "7bit"):
        return content
    if name == "base64":
        return from_base64(content.decode("latin-1"))
    if name == "quoted-printable":
        if len(content) > MOST_QUOTED_PRINTABLE:
            raise TooLarge(
                f"A part in quoted-printable has at most {MOST_QUOTED_PRINTABLE} bytes; send files as they are."
            )
        return binascii.a2b_qp(content)
    raise MalformedRequest(f"The content transfer encoding {encoding[:32]!r} is not taken; send the bytes as they are.")
