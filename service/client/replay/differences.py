"""Two answers to one request compared."""

from __future__ import annotations

import json
import math
from typing import Final, Literal, NamedTuple

import numpy as np

from service.client.replay.answers import Said, said_in
from service.contract.arrays import Array
from service.output.printable import printable

Kind = Literal["status", "form", "label", "predicted", "probability", "tensor"]

IN_WORDS: Final[dict[Kind, str]] = {
    "status": "another status",
    "form": "another form of answer",
    "label": "another top label",
    "predicted": "other labels predicted",
    "probability": "another probability",
    "tensor": "another tensor",
}
"""Kinds of differences in words, the gravest first: a request is counted once, under the first of them."""


class Difference(NamedTuple):
    """The gravest difference between two answers, and what it is."""

    kind: Kind
    words: str


class Compared(NamedTuple):
    """The result of a comparison."""

    difference: Difference | None
    gap: float | None = None
    """The largest |Δ probability| over all images and labels, where both answers have some."""
    model: str | None = None
    """The model that answers now, as "name@version"."""


def compared(before: tuple[int, bytes], now: tuple[int, bytes], tolerance: float) -> Compared:
    """Compare two answers, each a status and a body. Two refusals of the same status are the same.

    `tolerance` is how far a probability may be from the one before, and a tensor relative to its largest number.
    """
    if before[0] != now[0]:
        return Compared(Difference("status", f"{before[0]} → {now[0]}{_reason(now[1])}"))
    if before[0] != 200:
        return Compared(None)
    old, new = said_in(before[1]), said_in(now[1])
    if old is None and new is None:
        return Compared(None if before[1] == now[1] else Difference("form", "neither answer is that of a prediction"))
    if old is None or new is None:
        return Compared(Difference("form", f"{'only the new' if old is None else 'no'} answer is that of a prediction"))
    if len(old.tops) != len(new.tops) or set(old.tensors) != set(new.tensors):
        return Compared(Difference("form", f"{_form(old)} → {_form(new)}"))
    if (old.predicted is None) != (new.predicted is None):
        return Compared(Difference("form", "one model has independent labels, the other classes"), None, new.model)
    gaps = [probability_gap(*rows) for rows in zip(old.probabilities, new.probabilities, strict=True)]
    largest = max(gaps, default=None)
    difference = (
        _of_labels(old, new)
        or _of_predicted(old, new)
        or _of_probabilities(gaps, tolerance)
        or _of_tensors(old, new, tolerance)
    )
    return Compared(difference, largest, new.model)


def probability_gap(before: dict[str, float], now: dict[str, float]) -> float:
    """Return the largest |Δ| over the labels of one image.

    A label that only one answer has was ranked too low by the other: there it has the least probability at most.
    """
    gaps = [_gap(before[label], now[label]) for label in before.keys() & now.keys()]
    for own, other in ((before, now), (now, before)):
        least = min(other.values(), default=0.0)
        gaps += [max(0.0, own[label] - least) for label in own.keys() - other.keys()]
    return max(gaps, default=0.0)


def _gap(before: float, now: float) -> float:
    if before == now or (math.isnan(before) and math.isnan(now)):
        return 0.0
    gap = abs(before - now)
    return math.inf if math.isnan(gap) else gap


def _of_labels(old: Said, new: Said) -> Difference | None:
    for number, (before, now) in enumerate(zip(old.tops, new.tops, strict=True), 1):
        if before != now:
            words = f"{_shown(old, number, before)} → {_shown(new, number, now)}"
            return Difference("label", _of_image(number, len(old.tops)) + words)
    return None


def _shown(said: Said, number: int, label: str) -> str:
    return f"{label} {said.probabilities[number - 1][label]:.4g}" if said.probabilities else label


def _of_predicted(old: Said, new: Said) -> Difference | None:
    for number, (before, now) in enumerate(zip(old.predicted or (), new.predicted or (), strict=True), 1):
        if set(before) != set(now):
            words = f"{', '.join(before) or 'none'} → {', '.join(now) or 'none'}"
            return Difference("predicted", _of_image(number, len(old.tops)) + words)
    return None


def _of_probabilities(gaps: list[float], tolerance: float) -> Difference | None:
    for number, gap in enumerate(gaps, 1):
        if gap > tolerance:
            return Difference("probability", f"{_of_image(number, len(gaps))}|Δ| {gap:.3g}")
    return None


def _of_tensors(old: Said, new: Said, tolerance: float) -> Difference | None:
    for name, before in old.tensors.items():
        now = new.tensors[name]
        if before.shape != now.shape:
            return Difference("tensor", f"{name}: shape {list(before.shape)} → {list(now.shape)}")
        gap = relative_gap(before, now)
        if gap > tolerance:
            finite = math.isfinite(gap)
            return Difference(
                "tensor", f"{name}: " + (f"|Δ| is {gap:.3g} of its largest number" if finite else "other")
            )
    return None


def relative_gap(before: Array, now: Array) -> float:
    """Return the largest |Δ| of two tensors, divided by the largest number in them; of texts 0 or infinity."""
    if before.dtype == object or now.dtype == object:
        return 0.0 if np.array_equal(before, now) else math.inf
    if np.array_equal(before, now, equal_nan=True):
        return 0.0
    if not (np.isfinite(before).all() and np.isfinite(now).all()):
        return math.inf
    return float(np.abs(before - now).max() / max(np.abs(before).max(), np.abs(now).max()))


def _reason(body: bytes) -> str:
    """Return the reason that a refusal gives, behind a colon; nothing if it gives none."""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    reason = document.get("detail", document.get("error")) if isinstance(document, dict) else None
    return f": {printable(reason)}" if isinstance(reason, str) else ""


def _form(said: Said) -> str:
    images = f"{len(said.tops)} images"
    return f"{images} and the tensors {', '.join(sorted(said.tensors))}" if said.tensors else images


def _of_image(number: int, images: int) -> str:
    return f"image {number}: " if images > 1 else ""
