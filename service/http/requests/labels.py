"""Reads labels as callers write them, and turns them into the array that a model's kind of labels takes.

Exclusive classes: an index, a name, or nothing; one for all images or one for each. Independent labels: any number of
them for every image, as a list, as a text with commas, or by repeating `label`; an empty list says that none applies.
`label` is for all images, and `labels` has one entry for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import Bundle, LabelKindName
from service.contract.label_kinds import EXCLUSIVE, kind_called
from service.errors import InvalidLabel

Label = str | int | tuple[str | int, ...] | None
"""The labels that are given for one image: nothing, one label, or a set of labels."""


_KINDS: dict[LabelKindName, str] = {
    "exclusive": "The classes of {name} exclude each other: an image has one label.",
    "independent": "The labels of {name} are independent: `label` takes the set of labels of all images.",
}


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """The labels that a request gives, by the place where they stand.

    Args:
        of_images: said beside each image; None where nothing is.
        of_all: the values of `label`.
        of_each: the values of `labels`.
    """

    of_images: tuple[Label, ...]
    of_all: tuple[Label, ...] = ()
    of_each: tuple[Label, ...] = ()

    @property
    def any_given(self) -> bool:
        """True if a label, or the absence of all, is given for some image."""
        return any(label is not None for label in (*self.of_images, *self.of_all, *self.of_each))

    def spread(self, kind: LabelKindName, model: str) -> tuple[Label, ...]:
        """Return what is said of each image, to a model of that name with labels of that kind.

        Raises:
            InvalidLabel: neither one for all nor one for each, or a set where classes exclude each other.
        """
        images = len(self.of_images)
        if any(label is not None for label in self.of_images):
            return _checked(self.of_images, kind, model)
        if kind == "independent" and self.of_all:
            return (_joined(self.of_all),) * images
        labels = (*self.of_all, *self.of_each)
        if not labels:
            return (None,) * images
        if len(labels) not in (1, images):
            raise InvalidLabel(
                f"There are {len(labels)} labels for {images} images; give one for all or one for each. "
                f"{_KINDS[kind].format(name=model)}"
            )
        return _checked(labels * images if len(labels) == 1 else labels, kind, model)


def label_from_text(text: str) -> Label:
    """Return the label that a text means: none if it is blank."""
    return text.strip() or None


def as_label(value: Any) -> Label:
    """Return the label, or the set of labels, that a JSON value means.

    Raises:
        InvalidLabel: neither a string nor an integer nor null, nor a list of strings and integers.
    """
    if isinstance(value, list | tuple):
        return tuple([one for entry in value if (one := _single(entry)) is not None])
    return _single(value)


def class_index(label: str | int | None, labels: Mapping[str, int]) -> int:
    """Return the class that a label means; −1 for None. Digits are an index unless a label has exactly that name.

    Raises:
        InvalidLabel: the model has no such class.
    """
    if label is None:
        return -1
    if isinstance(label, str):
        if label in labels:
            return labels[label]
        if not (label.isascii() and label.isdigit() and len(label) < 10):
            raise InvalidLabel(f"The model has no label {label[:64]!r}.")
        label = int(label)
    if not 0 <= label < len(labels):
        raise InvalidLabel(f"The model has the classes 0 to {len(labels) - 1}, not {str(label)[:20]}.")
    return label


def label_array(given: Sequence[Label], bundle: Bundle) -> NDArray[np.int64]:
    """Return the labels of n images as the bundle's graphs take them; −1 where nothing is given.

    Raises:
        InvalidLabel: the model has no such label, or its classes exclude each other and several are given.
    """
    kind = kind_called(bundle.label_kind)
    places = {name: index for index, name in enumerate(bundle.labels)}
    if kind is EXCLUSIVE:
        return np.array([_class_of(label, places, bundle.name) for label in given], dtype=np.int64)
    array = kind.none_given(len(given), len(bundle.labels))
    for row, label in zip(array, given, strict=True):
        if label is not None:
            row[:] = 0
            row[[class_index(one, places) for one in _set_of(label, places)]] = 1
    return array


def _checked(labels: tuple[Label, ...], kind: LabelKindName, model: str) -> tuple[Label, ...]:
    """Return the labels; where classes exclude each other, an empty set is none, and no larger one is taken."""
    if kind == "independent":
        return labels
    if any(isinstance(label, tuple) and label for label in labels):
        raise InvalidLabel(_KINDS["exclusive"].format(name=model))
    return tuple([label or None if isinstance(label, tuple) else label for label in labels])


def _class_of(label: Label, labels: Mapping[str, int], model: str) -> int:
    assert not isinstance(label, tuple), "spread() refuses sets for exclusive classes"
    try:
        return class_index(label, labels)
    except InvalidLabel as error:
        if isinstance(label, str) and "," in label:
            raise InvalidLabel(f"{error.detail} {_KINDS['exclusive'].format(name=model)}") from None
        raise


def _set_of(label: str | int | tuple[str | int, ...], labels: Mapping[str, int]) -> list[str | int]:
    """Return the labels of a set; a text is one label if the model has one of that name, else divided at its commas."""
    if isinstance(label, tuple):
        return [one for entry in label for one in _set_of(entry, labels)]
    if isinstance(label, int) or label in labels:
        return [label]
    return [part.strip() for part in label.split(",") if part.strip()]


def _joined(labels: Sequence[Label]) -> Label:
    """Return one set out of the values of `label`; None if they say nothing."""
    said = [label for label in labels if label is not None]
    return tuple([one for label in said for one in (label if isinstance(label, tuple) else (label,))]) if said else None


def _single(value: Any) -> str | int | None:
    if isinstance(value, str):
        return value.strip() or None
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InvalidLabel("A label is an index or a name, or a list of them where labels are independent.")
