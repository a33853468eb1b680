"""Values and words of an answer in its JSON form, for titles and marks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from service.diagnostics.words import sentence

JsonAnswer = Mapping[str, Any]
"""The body of a JSON answer; numbers may be the strings "NaN", "Infinity" and "-Infinity"."""

Families = Mapping[str, str]
"""Model name → "residual", "plain" or "imported" (the default), which chooses its colour."""
NO_FAMILIES: Final[Families] = MappingProxyType({})

TITLES: Final = {
    "healthy": "{} is healthy",
    "vanishing": "The gradients of {} vanish",
    "not finite": "The gradients of {} are not finite",
    "exploding": "The gradients of {} explode",
    "dead": "{} has dead layers",
    "imbalanced": "The layers of {} are imbalanced",
    "shattered": "The gradients of {} shatter",
    "rough": "The gradients of {} are rough, not shattered",
    "smooth": "The gradients of {} change smoothly",
}
"""State of a verdict → title of the plot, with a place for the model's name."""


def as_float(value: float | str | None) -> float:
    """Return a number of an answer, which may be one of the three strings; NaN for null."""
    return math.nan if value is None else float(value)


def title_of(answer: JsonAnswer) -> str:
    """Return the title of a plot of one model's verdict."""
    state = str(answer["verdict"]["state"])
    return TITLES.get(state, "{}: " + state).format(answer["model"])


def of_network(answer: JsonAnswer) -> str:
    """Return what the answer of an int8 model says of the network it is about, with a space before it; else nothing."""
    return f" {sentence(answer['quantized'])}" if answer.get("quantized") else ""


def classified_as(sample: Mapping[str, Any]) -> str:
    """Return the class or the labels that the network predicts for an image, in words."""
    if "predicted_label" in sample:
        return str(sample["predicted_label"])
    return ", ".join(sample["predicted_labels"]) or "none of the labels"
