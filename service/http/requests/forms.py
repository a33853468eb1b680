"""Reads images, labels and fields from a body, in one of three forms.

    raw          one image; its bytes decide its type, whatever `Content-Type` says
    multipart    files, and text parts for the options (`labels` once for all or once per image)
    JSON         {"images": ["<base64>" | {"data": "<base64>", "label": "cat" | 3}, …], "top_k": 5, …}

JSON is also recognised by its first byte, which no image begins with. `submission.py` decides what the fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from service.errors import EmptyBody, MalformedRequest, TooLarge, UnsupportedBody
from service.http.answers.header_fields import parameters
from service.http.requests.json_forms import read_json_form
from service.http.requests.labels import GivenLabels, label_from_text
from service.http.requests.multipart import Part, parts_of
from service.images.files import signature

Kind = Literal["raw", "json", "multipart", "urlencoded"]

MAX_TEXT_FIELD = 2**16
LARGE_BODY = 2**18
"""Bytes above which a body is read in a thread, off the event loop."""
MOST_OTHER_PARTS = 16
"""Parts that a multipart body may have besides images and labels."""

_JSON_START = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\x00]*\{")
_URLENCODED_START = re.compile(rb"[\w.%+\[\]-]+=[\x20-\x7e]*")
_IMAGE_NAME = re.compile(r"images?(?:\[\d*\]|_?\d+)?")
_CHARSETS = {"iso-8859-1": "latin-1", "latin1": "latin-1"}


@dataclass(frozen=True, slots=True)
class Form:
    """Content of a body: encoded images, what it says of their labels, and the other fields."""

    images: tuple[bytes, ...]
    labels: GivenLabels
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what one request may contain."""

    images: int
    json_depth: int


def read_form(body: bytes, content_type: bytes, options: Collection[str], limits: Limits) -> Form:
    """Read a body; `options` are names of fields that are never images, even if a file is sent for one.

    Raises:
        EmptyBody, MalformedRequest: the body is empty, or not what its content type says.
        TooLarge: too many images.
        UnsupportedBody: a form that is not taken.
        InvalidParameter: a field of the wrong type.
    """
    if not body:
        raise EmptyBody("The body is empty; send an image.")
    kind = kind_of(content_type, body)
    if kind == "json":
        images, labels, fields = read_json_form(body, limits.images, limits.json_depth)
        return Form(tuple(images), GivenLabels(tuple(labels)), fields)
    if kind == "multipart":
        return _read_multipart(body, content_type, options, limits)
    if kind == "urlencoded":
        raise UnsupportedBody(
            "The body is a form in application/x-www-form-urlencoded, which is not taken: send the image itself "
            "(curl --data-binary @FILE), multipart/form-data (curl -F image=@FILE), or JSON."
        )
    return Form((body,), GivenLabels((None,)))


def kind_of(content_type: bytes, body: bytes) -> Kind:
    """Return the form of a body by its media type or, if that says nothing, by its first bytes."""
    kind = declared_kind(content_type)
    if kind in ("raw", "urlencoded"):
        start = body[:64]
        if _JSON_START.match(start):
            return "json"
        if kind == "urlencoded" and not _URLENCODED_START.fullmatch(start):
            return "raw"
    return kind


def declared_kind(content_type: bytes) -> Kind:
    """Return the form that a media type means; short ones are cached, because clients repeat theirs."""
    return _declared_kind(content_type) if len(content_type) < 100 else _declared_kind.__wrapped__(content_type)


@lru_cache(maxsize=256)
def _declared_kind(content_type: bytes) -> Kind:
    media_type = parameters(content_type.decode("latin-1"))[0]
    if media_type.startswith("multipart/"):
        return "multipart"
    if media_type in ("application/json", "text/json") or media_type.endswith("+json"):
        return "json"
    return "urlencoded" if media_type == "application/x-www-form-urlencoded" else "raw"


def _read_multipart(body: bytes, content_type: bytes, options: Collection[str], limits: Limits) -> Form:
    boundary = parameters(content_type.decode("latin-1"))[1].get("boundary", "")
    if not boundary:
        raise MalformedRequest(
            "The multipart body has no boundary in its content type; leave the header `Content-Type` to the client."
        )
    images: list[bytes] = []
    fields: dict[str, list[str]] = {}
    for part in parts_of(body, boundary.encode("latin-1"), MOST_OTHER_PARTS + 2 * limits.images):
        if not _is_image(part, options):
            fields.setdefault(part.name, []).append(_text(part))
        elif part.content or part.file_name:  # else an input of a browser's form for which no file was chosen
            images.append(_image(part))
    if len(images) > limits.images:
        raise TooLarge(f"There are {len(images)} images; the limit is {limits.images}.")
    if not images:
        came = ", ".join([f"`{name[:64]}`" for name in list(fields)[:8]])
        raise EmptyBody("The form has no image; send each as a file." + (f" It has {came}." if came else ""))
    of_all, of_each = (tuple([label_from_text(text) for text in fields.pop(name, [])]) for name in ("label", "labels"))
    others: dict[str, Any] = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    return Form(tuple(images), GivenLabels((None,) * len(images), of_all, of_each), others)


def _is_image(part: Part, options: Collection[str]) -> bool:
    """Return whether a part is an image: every file is, whatever its field is called, unless it is sent for an option.

    Some clients send an image without a file name; its media type tells, or its field `images` (`image`, `images[0]`,
    `image_1`).
    """
    if _IMAGE_NAME.fullmatch(part.name):
        return True
    is_file = part.file_name is not None or part.media_type.startswith(("image/", "application/octet-stream"))
    return is_file and part.name not in options


def _image(part: Part) -> bytes:
    if part.file_name is None and signature(part.content) is None:
        raise UnsupportedBody(f"The field {part.name[:64]!r} is not an image; send the file itself, or base64 in JSON.")
    return part.content


def _text(part: Part) -> str:
    if not part.name:
        raise MalformedRequest("A part of the multipart body has no name.")
    if len(part.content) > MAX_TEXT_FIELD:
        raise TooLarge(f"The field {part.name[:64]!r} is too long.")
    return part.content.decode(_CHARSETS.get(part.charset.lower(), "utf-8"), "replace")
