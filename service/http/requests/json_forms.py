"""Reads a JSON body: {"images": ["<base64>" | {"data": "<base64>", "label": "cat" | 3}, …], "top_k": 5, …}."""

from __future__ import annotations

from typing import Any

from service.errors import EmptyBody, InvalidParameter, MalformedRequest, TooLarge
from service.http.requests.base64_text import from_base64
from service.http.requests.json_bodies import MAX_JSON_VALUES, parse_json
from service.http.requests.labels import Label, as_label

AN_IMAGE = 'base64, or {"data": base64, "label": …}'


def read_json_form(body: bytes, most_images: int, depth: int) -> tuple[list[bytes], list[Label], dict[str, Any]]:
    """Return encoded images, a label (or None) for each, and the other fields.

    `images` is a list. A single image needs no list, and may be called `image`.

    Raises:
        MalformedRequest: not JSON, nested deeper than `depth`, or without images.
        TooLarge: more than `most_images`.
        InvalidParameter, InvalidLabel: an image has an unknown field, or a label of a wrong type.
    """
    document = parse_json(
        body,
        too_many=f"The JSON body has more than {MAX_JSON_VALUES} values.",
        unreadable="The body is not valid JSON.",
    )
    if not isinstance(document, dict):
        raise MalformedRequest("The JSON body must be an object.")
    check_depth(document, depth)
    entries = _entries(document)
    if len(entries) > most_images:
        raise TooLarge(f"There are {len(entries)} images; the limit is {most_images}.")
    pairs = [_read_image(entry) for entry in entries]
    return [data for data, _ in pairs], [label for _, label in pairs], document


def _entries(document: dict[str, Any]) -> list[Any]:
    """Take the values that are images out of the document."""
    given = [value for name in ("images", "image") if (value := document.pop(name, None)) is not None]
    if not given:
        names = f"; it has {_listed(document)}." if document else "."
        raise MalformedRequest(f"The JSON body must have `images`, a list, each {AN_IMAGE}{names}")
    if len(given) > 1:
        raise MalformedRequest("The JSON body has both `images` and `image`; give one of them.")
    if given[0] == []:
        raise EmptyBody("The list `images` is empty.")
    return given[0] if isinstance(given[0], list) else given


def _read_image(entry: Any) -> tuple[bytes, Label]:
    label: Label = None
    if isinstance(entry, dict):
        fields = dict(entry)
        entry, label = fields.pop("data", None), as_label(fields.pop("label", None))
        if not isinstance(entry, str):
            raise MalformedRequest(f"An image is {AN_IMAGE}; this one has {_listed(fields) or 'no `data`'}.")
        if fields:
            raise InvalidParameter(f"An image has the fields `data` and `label`, not {_listed(fields)}.")
    if not isinstance(entry, str):
        raise MalformedRequest(f"An image is {AN_IMAGE}.")
    return from_base64(entry), label


def _listed(fields: dict[str, Any]) -> str:
    return ", ".join(f"`{name[:64]}`" for name in list(fields)[:8])


def check_depth(value: Any, allowed: int) -> None:
    """Raise `MalformedRequest` if a JSON value is nested deeper than `allowed` levels."""
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
