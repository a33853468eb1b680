"""What a caller sends to be looked at: images, labels and options, in one of three forms of body.

    raw          one image; its type is decided by its bytes, whatever `Content-Type` says
    multipart    parts `images`, and text parts for the options (`labels` once for all or once per image)
    JSON         {"images": ["<base64>" | {"data": "<base64>", "label": "cat" | 3}, …], "top_k": 5, …}

Options in the body win over the query.
"""

from __future__ import annotations

import asyncio
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.decoding import DecodePool
from service.errors import EmptyBody, InvalidLabel, InvalidParameter, MalformedRequest, TooLarge
from service.images import Pixels
from service.registry import Registry, ServedModel
from service.request_context import RequestContext

Label = str | int | None

INCLUDABLE = frozenset({"batch_gradient", "input_gradient", "activations"})
DEFAULT_TOP_K = 5
MAX_JSON_VALUES = 100_000
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
    if body.count(b"[") + body.count(b"{") + body.count(b",") > MAX_JSON_VALUES:
        raise TooLarge(f"The JSON body has more than {MAX_JSON_VALUES} values.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is not valid JSON.") from None
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
        label = _as_label(entry.get("label"))
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
    labels = [_label_from_text(text) for name in ("labels", "label") for text in parts.fields.pop(name, [])]
    fields: dict[str, Any] = {name: values[0] if len(values) == 1 else values for name, values in parts.fields.items()}
    images = tuple(parts.images)
    return Form(images, _spread(labels, len(images)) if images else (), fields)


def _label_from_text(text: str) -> Label:
    return text.strip() or None


def _as_label(value: Any) -> Label:
    if value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InvalidLabel("A label is an index or a name.")


def _spread(labels: Sequence[Label], images: int) -> tuple[Label, ...]:
    """One label per image: none given, one for all, or one for each."""
    if not labels:
        return (None,) * images
    if len(labels) == 1:
        return (labels[0],) * images
    if len(labels) != images:
        raise InvalidLabel(f"There are {len(labels)} labels for {images} images; give one for all or one for each.")
    return tuple(labels)


def class_index(label: Label, labels: Sequence[str]) -> int:
    """The class a label means; −1 for None. Digits are an index unless a label has exactly that name.

    Raises:
        InvalidLabel: the model has no such class.
    """
    if label is None:
        return -1
    if isinstance(label, str):
        if label in labels:
            return labels.index(label)
        if not (label.isascii() and label.isdigit() and len(label) < 10):
            raise InvalidLabel(f"The model has no label {label[:64]!r}.")
        label = int(label)
    if not 0 <= label < len(labels):
        raise InvalidLabel(f"The model has the classes 0 to {len(labels) - 1}, not {str(label)[:20]}.")
    return label


class Submission:
    """A request's images with everything that was said about them."""

    def __init__(
        self, form: Form, query: Mapping[str, Sequence[str]], registry: Registry, decode_pool: DecodePool,
        request: RequestContext,
    ) -> None:  # fmt: skip
        self._fields = form.fields
        self._query = query
        self._decode_pool = decode_pool
        self.request = request
        self.images = form.images
        self.labels = self._labels(form)
        self.models = self._models(registry)
        self.top_k = read_top_k(self.option("top_k"))
        self.include = read_include(self.option("include"))

    @property
    def model(self) -> ServedModel:
        return self.models[0]

    @property
    def given_labels(self) -> bool:
        return any(label is not None for label in self.labels)

    def option(self, name: str, default: Any = None) -> Any:
        """The field of the body, else the query's first value (a string), else `default`."""
        if name in self._fields:
            return self._fields[name]
        values = self._query.get(name)
        return values[0] if values else default

    def class_indices(self, model: ServedModel) -> NDArray[np.int64]:
        """int64 [n]: each image's class in `model`, −1 where no label was given.

        Raises:
            InvalidLabel: the model has no such class.
        """
        labels = model.bundle.labels
        return np.array([class_index(label, labels) for label in self.labels], dtype=np.int64)

    async def pixels(self, model: ServedModel) -> Pixels:
        """uint8 [n, h, w, c]: the images decoded as `model` wants them.

        Raises:
            ImageError: an image cannot be taken.
        """
        return await self._decode_pool.pixels(self.images, model.bundle.input, self.request)

    def _labels(self, form: Form) -> tuple[Label, ...]:
        if any(label is not None for label in form.labels):
            return form.labels
        given = self._fields.get("labels", self._fields.get("label"))
        if given is None:
            given = [text for name in ("label", "labels") for text in self._query.get(name, [])]
        labels = [_as_label(label) for label in (given if isinstance(given, list) else [given])]
        return _spread([_label_from_text(x) if isinstance(x, str) else x for x in labels], len(form.images))

    def _models(self, registry: Registry) -> tuple[ServedModel, ...]:
        named = self._fields.get("model", self._query.get("model", [None]))
        names = named if isinstance(named, list) else [named]
        version = self.option("version")
        version = str(version) if isinstance(version, int) and not isinstance(version, bool) else version
        if not all(name is None or isinstance(name, str) for name in names) or not isinstance(version, str | None):
            raise InvalidParameter("`model` and `version` must be strings.")
        return tuple(registry.select(name, version) for name in names or [None])


def read_query(query_string: bytes) -> dict[str, list[str]]:
    """The query's values by name.

    Raises:
        MalformedRequest: far too many of them.
    """
    if not query_string:
        return {}
    try:
        return parse_qs(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        raise MalformedRequest("The query has too many parameters.") from None


def read_top_k(value: Any) -> int:
    """How many labels to rank.

    Raises:
        InvalidParameter: not a positive integer.
    """
    if value is None:
        return DEFAULT_TOP_K
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidParameter(f"`top_k` must be a positive integer, not {str(value)[:40]!r}.")
    return value


def read_include(value: Any) -> frozenset[str]:
    """The further quantities asked for.

    Raises:
        InvalidParameter: one that is not known.
    """
    if value is None:
        return frozenset()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidParameter("`include` must be a comma-separated list.")
    wanted = frozenset(name.strip() for name in names if name.strip())
    unknown = sorted(wanted - INCLUDABLE)
    if unknown:
        raise InvalidParameter(f"`include` knows {', '.join(sorted(INCLUDABLE))}; not {unknown[0][:40]!r}.")
    return wanted
