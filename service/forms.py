"""A body taken apart: images, labels and fields, in one of three forms.

    raw          one image; its type is decided by its bytes, whatever `Content-Type` says
    multipart    parts `images`, and text parts for the options (`labels` once for all or once per image)
    JSON         {"images": ["<base64>" | {"data": "<base64>", "label": "cat" | 3}, …], "top_k": 5, …}

What the fields mean is decided elsewhere (`submission.py`).
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import EmptyBody, InvalidLabel, MalformedRequest, TooLarge
from service.json_bodies import MAX_JSON_VALUES, parse_json

Label = str | int | None

MAX_TEXT_FIELD = 2**16
BASE64_PIECE = 2**20
"""Characters, a multiple of four."""
MULTIPART_PIECE = 2**20
LARGE_BODY = 2**18
"""Bytes above which a body is taken apart off the event loop."""


@dataclass(frozen=True, slots=True)
class Form:
    """A body taken apart: encoded images, a label (or None) for each, and the other fields."""

    images: tuple[bytes, ...]
    labels: tuple[Label, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may hold."""

    images: int
    json_depth: int


def read_form(body: bytes, content_type: str, limits: Limits) -> Form:
    """Takes a body apart.

    Raises:
        EmptyBody, MalformedRequest: nothing there, or not what the content type says.
        TooLarge: too many images.
        InvalidParameter: a field of the wrong type.
    """
    kind, parameters = parse_options_header(content_type)
    if not body:
        raise EmptyBody("The body is empty; send an image.")
    if kind == b"application/json":
        form = _read_json(body, limits)
    elif kind == b"multipart/form-data":
        form = _read_multipart(body, parameters.get(b"boundary"), limits)
    else:
        return Form((body,), (None,))
    if not form.images:
        raise EmptyBody("The request has no `images`.")
    return form


async def read_form_off_the_loop(body: bytes, content_type: str, limits: Limits) -> Form:
    """`read_form`, in a thread where the body is large."""
    if len(body) > LARGE_BODY:
        return await asyncio.to_thread(read_form, body, content_type, limits)
    return read_form(body, content_type, limits)


def _read_json(body: bytes, limits: Limits) -> Form:
    document = parse_json(
        body,
        too_many=f"The JSON body has more than {MAX_JSON_VALUES} values.",
        unreadable="The body is not valid JSON.",
    )
    if not isinstance(document, dict):
        raise MalformedRequest("The JSON body must be an object.")
    _check_depth(document, limits.json_depth)
    entries = document.pop("images", None)
    if not isinstance(entries, list):
        raise MalformedRequest("The JSON body must have `images`, a list.")
    _check_count(len(entries), limits)
    pairs = [_read_json_image(entry) for entry in entries]
    return Form(tuple(data for data, _ in pairs), tuple(label for _, label in pairs), document)


def _read_json_image(entry: Any) -> tuple[bytes, Label]:
    label: Label = None
    if isinstance(entry, dict):
        label = as_label(entry.get("label"))
        entry = entry.get("data")
    if not isinstance(entry, str):
        raise MalformedRequest('An image is a base64 string, or {"data": base64, "label": …}.')
    return _from_base64(entry), label


def _from_base64(text: str) -> bytes:
    """In pieces, so that a large image does not hold the interpreter while the event loop waits for its turn."""
    start = text.find(",") + 1 if text.startswith("data:") else 0
    pieces = []
    try:
        for begin in range(start, len(text), BASE64_PIECE):
            piece = text[begin : begin + BASE64_PIECE]
            if piece.endswith("=") and begin + BASE64_PIECE < len(text):
                raise ValueError("padding in the middle")
            pieces.append(binascii.a2b_base64(piece, strict_mode=True))
    except ValueError:
        raise MalformedRequest("An image is not valid base64.") from None
    return b"".join(pieces)


def _check_depth(value: Any, allowed: int) -> None:
    level = [value]
    for _ in range(allowed):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise MalformedRequest(f"The JSON body is nested deeper than {allowed} levels.")


def _check_count(images: int, limits: Limits) -> None:
    if images > limits.images:
        raise TooLarge(f"There are {images} images; the limit is {limits.images}.")


class _Parts:
    """Collects the parts of a multipart body from the parser's callbacks."""

    def __init__(self, limits: Limits) -> None:
        self.images: list[bytes] = []
        self.fields: dict[str, list[str]] = {}
        self._limits = limits
        self._header = [b"", b""]
        self._disposition = b""
        self._content = BytesIO()

    def on_part_begin(self) -> None:
        self._disposition, self._content = b"", BytesIO()
        _check_count(len(self.images), self._limits)
        if sum(map(len, self.fields.values())) > 16 + 2 * self._limits.images:
            raise TooLarge("The multipart body has too many fields.")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content.write(data[start:end])

    def on_part_end(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        content = self._content.getvalue()
        if name in ("images", "image"):
            self.images.append(content)
            _check_count(len(self.images), self._limits)
        elif not name:
            raise MalformedRequest("A part of the multipart body has no name.")
        elif len(content) > MAX_TEXT_FIELD:
            raise TooLarge(f"The field {name[:64]!r} is too long.")
        else:
            self.fields.setdefault(name, []).append(content.decode("utf-8", "replace"))

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def on_header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = [b"", b""]


def _read_multipart(body: bytes, boundary: bytes | None, limits: Limits) -> Form:
    if not boundary:
        raise MalformedRequest("The multipart body has no boundary in its content type.")
    parts = _Parts(limits)
    names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end")
    callbacks: Any = {f"on_{name}": getattr(parts, f"on_{name}") for name in names}
    try:
        parser = MultipartParser(boundary, callbacks)
        for start in range(0, len(body), MULTIPART_PIECE):
            parser.write(body[start : start + MULTIPART_PIECE])
        parser.finalize()
    except FormParserError:
        raise MalformedRequest("The multipart body cannot be read.") from None
    if not body.rstrip().endswith(b"--"):
        raise MalformedRequest("The multipart body is cut short.")
    labels = [label_from_text(text) for name in ("labels", "label") for text in parts.fields.pop(name, [])]
    fields: dict[str, Any] = {name: values[0] if len(values) == 1 else values for name, values in parts.fields.items()}
    images = tuple(parts.images)
    return Form(images, spread(labels, len(images)) if images else (), fields)


def label_from_text(text: str) -> Label:
    return text.strip() or None


def as_label(value: Any) -> Label:
    if value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InvalidLabel("A label is an index or a name.")


def spread(labels: Sequence[Label], images: int) -> tuple[Label, ...]:
    """One label per image: none given, one for all, or one for each."""
    if not labels:
        return (None,) * images
    if len(labels) == 1:
        return (labels[0],) * images
    if len(labels) != images:
        raise InvalidLabel(f"There are {len(labels)} labels for {images} images; give one for all or one for each.")
    return tuple(labels)
