"""Multipart bodies taken into their parts (RFC 2046, 5.1; RFC 7578), as browsers and clients write them.

What stands before the first boundary and behind the last is left out. Lines may end in CRLF or, all of them, in LF.
"""

from __future__ import annotations

import binascii
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from service.base64_text import from_base64
from service.errors import MalformedRequest, TooLarge
from service.header_fields import parameters

LONGEST_BOUNDARY = 256
LONGEST_HEAD = 2**13
"""Bytes of one part's header fields together."""
MOST_BLANKS = 64
"""Behind a boundary, on its line."""
MOST_QUOTED_PRINTABLE = 2**20
"""Bytes; it is decoded in one go, in which nothing else moves."""
MOST_FALSE_BOUNDARIES = 1000
"""Lines of one part that begin as its boundary and go on otherwise; clients choose one that no line begins with."""


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


def parts_of(body: bytes, boundary: bytes, most: int) -> Iterator[Part]:
    """The parts of a multipart body, in order.

    Raises:
        MalformedRequest: no boundary line, none at the end, or a part whose head cannot be read.
        TooLarge: more than `most` parts.
    """
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise MalformedRequest(f"The boundary of a multipart body has 1 to {LONGEST_BOUNDARY} characters.")
    dashed = b"--" + boundary
    start, line_end = _first_part(body, dashed)
    for count in itertools.count(1):
        if start < 0:
            return
        if count > most:
            raise TooLarge(f"The multipart body has more than {most} parts.")
        end, following = _next_boundary(body, line_end + dashed, start, line_end)
        yield _part(body, start, end, line_end)
        start = following


def _first_part(body: bytes, dashed: bytes) -> tuple[int, bytes]:
    """Where the first part begins, −1 if there is none, and how the lines end."""
    for position in itertools.islice(_lines_beginning_with(dashed, body), MOST_FALSE_BOUNDARIES):
        behind = position + len(dashed)
        if body.startswith(b"--", behind):
            return -1, b""
        end = _behind_blanks(body, behind)
        for line_end in (b"\r\n", b"\n"):
            if body.startswith(line_end, end):
                return end + len(line_end), line_end
    raise MalformedRequest("The multipart body has no line with the boundary that its content type names.")


def _lines_beginning_with(dashed: bytes, body: bytes) -> Iterator[int]:
    if body.startswith(dashed):
        yield 0
    position = 0
    while position := body.find(b"\n" + dashed, position) + 1:
        yield position


def _next_boundary(body: bytes, delimiter: bytes, start: int, line_end: bytes) -> tuple[int, int]:
    """Where the part that begins at `start` ends, and where the next begins: −1 if it was the last."""
    behind = start - len(line_end)  # a part may be empty: its boundary's line end is then that of the line before
    for _ in range(MOST_FALSE_BOUNDARIES):
        position = body.find(delimiter, behind)
        if position < 0:
            raise MalformedRequest("The multipart body is cut short: it does not end with its boundary.")
        behind = position + len(delimiter)
        if body.startswith(b"--", behind):
            return position, -1
        end = _behind_blanks(body, behind)
        if body.startswith(line_end, end):
            return position, end + len(line_end)
    raise MalformedRequest("The multipart body has too many lines that begin as its boundary does.")


def _behind_blanks(body: bytes, position: int) -> int:
    following = body[position : position + MOST_BLANKS]
    return position + len(following) - len(following.lstrip(b" \t"))


def _part(body: bytes, start: int, end: int, line_end: bytes) -> Part:
    if body.startswith(line_end, start):
        head, begin = b"", start + len(line_end)
    else:
        close = body.find(line_end * 2, start, min(end + len(line_end), start + LONGEST_HEAD))
        if close < 0:
            raise MalformedRequest("The head of a part of the multipart body does not end, or is too long.")
        head, begin = body[start:close], close + 2 * len(line_end)
    fields = _header_fields(head, line_end)
    disposition = parameters(fields.get("content-disposition", ""))[1]
    media_type, of_type = parameters(fields.get("content-type", ""))
    if media_type.startswith("multipart/"):
        raise MalformedRequest("A multipart body inside another is not taken; send every file as a part of its own.")
    return Part(
        disposition.get("name", ""),
        disposition.get("filename", disposition.get("filename*")),
        media_type,
        of_type.get("charset", ""),
        _content(body, begin, max(begin, end), fields.get("content-transfer-encoding", "")),
    )


def _header_fields(head: bytes, line_end: bytes) -> dict[str, str]:
    """The fields of a part's head by their names in lower case; a line that begins with a blank continues one."""
    fields: dict[str, str] = {}
    unfolded = head.replace(line_end + b" ", b" ").replace(line_end + b"\t", b" ")
    for line in unfolded.split(line_end) if unfolded else []:
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon:
            raise MalformedRequest("The head of a part of the multipart body cannot be read.")
        fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _content(body: bytes, begin: int, end: int, encoding: str) -> bytes:
    """The content of a part without its `Content-Transfer-Encoding`, which few clients still give."""
    name = encoding.lower()
    if name in ("", "binary", "8bit", "7bit"):
        return body[begin:end]
    if name == "base64":
        return from_base64(str(memoryview(body)[begin:end], "latin-1"))
    if name == "quoted-printable":
        if end - begin > MOST_QUOTED_PRINTABLE:
            raise TooLarge(
                f"A part in quoted-printable has at most {MOST_QUOTED_PRINTABLE} bytes; send files as they are."
            )
        return binascii.a2b_qp(memoryview(body)[begin:end])
    raise MalformedRequest(f"The content transfer encoding {encoding[:32]!r} is not taken; send the bytes as they are.")
