"""Reads labels as callers write them: an index, a name, or nothing; one for all images or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.errors import InvalidLabel

Label = str | int | None


def label_from_text(text: str) -> Label:
    """Return the label that a text means: none if it is blank."""
    return text.strip() or None


def as_label(value: Any) -> Label:
    """Return the label that a JSON value means.

    Raises:
        InvalidLabel: neither a string nor an integer nor null.
    """
    if isinstance(value, str):
        return label_from_text(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InvalidLabel("A label is an index or a name.")


def spread(labels: Sequence[Label], images: int) -> tuple[Label, ...]:
    """Return one label per image, from none, one for all, or one for each.

    Raises:
        InvalidLabel: another number of labels.
    """
    if not labels:
        return (None,) * images
    if len(labels) == 1:
        return (labels[0],) * images
    if len(labels) != images:
        raise InvalidLabel(f"There are {len(labels)} labels for {images} images; give one for all or one for each.")
    return tuple(labels)
