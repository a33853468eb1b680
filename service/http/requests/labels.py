"""Labels as callers write them: an index, a name, or nothing; one for all images or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.errors import InvalidLabel

Label = str | int | None


def label_from_text(text: str) -> Label:
    """The label that a text stands for: none if it is blank."""
    return text.strip() or None


def as_label(value: Any) -> Label:
    """The label that a JSON value stands for.

    Raises:
        InvalidLabel: it is neither text nor a whole number nor null.
    """
    if isinstance(value, str):
        return label_from_text(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
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
