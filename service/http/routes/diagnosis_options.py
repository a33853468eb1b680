"""Options of the diagnostics endpoints: their part of the OpenAPI document, and functions that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np

from service.diagnostics import features
from service.diagnostics.shattering.points import LEAST_POINTS, MOST_POINTS
from service.diagnostics.shattering.points import POINTS as USUAL_POINTS
from service.diagnostics.shattering.verdict import SHATTERED as SHATTERED_BELOW
from service.diagnostics.shattering.verdict import SOURCE as SHATTERED_SOURCE
from service.diagnostics.verdicts.thresholds import Thresholds
from service.errors import InvalidParameter
from service.http.answers.openapi import (
    A_PICTURE,
    ANOTHER_PICTURE,
    SEVERAL_MODELS,
    TWO_MODELS,
    image_request,
    numeric_option,
)
from service.http.requests.submission import Submission

THRESHOLDS: Final = {
    one.name: numeric_option(
        f"a threshold of the verdict: {one.metadata['meaning']}; source: {one.metadata['source']}",
        default=one.default,
        exclusiveMinimum=0,
    )
    for one in fields(Thresholds)
}
POINTS: Final = numeric_option(
    f"points on the path; default: {USUAL_POINTS}, or as many as there is time for before the deadline",
    type="integer",
    minimum=LEAST_POINTS,
    maximum=MOST_POINTS,
)
SHATTERED: Final = numeric_option(
    f"spectral exponent with {USUAL_POINTS} points, below which the gradient is shattered; for other numbers of points "
    f"the bound is carried over; source: {SHATTERED_SOURCE}",
    default=SHATTERED_BELOW,
)
CHANNELS: Final = numeric_option(
    "pictures per layer",
    type="integer",
    default=features.CHANNELS,
    minimum=1,
    maximum=features.MOST_CHANNELS,
)

GRADIENTS: Final = image_request("label", "include", "format", thresholds=True, **THRESHOLDS)
COMPARISON: Final = image_request(
    *("label", "include", "format"),
    thresholds=True,
    example={"images": [A_PICTURE], "model": TWO_MODELS},
    model=SEVERAL_MODELS,
    **THRESHOLDS,
)
SHATTERING: Final = image_request(
    *("label", "format"),
    example={"images": [A_PICTURE, ANOTHER_PICTURE]},
    points=POINTS,
    shattered=SHATTERED,
)
SCORES: Final = image_request("label", "format")
FEATURES: Final = image_request("label", "format", channels=CHANNELS)


def read_thresholds(submission: Submission) -> Thresholds:
    """Return the verdict's thresholds, from `thresholds` in a JSON body, or each by its name in body or query.

    Raises:
        InvalidParameter: one is unknown, or not a positive number.
    """
    given = submission.option("thresholds", {})
    if not isinstance(given, dict):
        raise InvalidParameter("`thresholds` must be an object of numbers.")
    named = {field.name: submission.option(field.name) for field in fields(Thresholds)}
    return thresholds_with({**given, **{name: value for name, value in named.items() if value is not None}})


def thresholds_with(given: Mapping[str, Any]) -> Thresholds:
    """Return the verdict's thresholds with the `given` ones in place of the defaults.

    Raises:
        InvalidParameter: one is unknown, or not a positive number.
    """
    try:
        return Thresholds().overridden({str(name): _as_number(value) for name, value in given.items()})
    except (TypeError, ValueError) as error:
        raise InvalidParameter(str(error)[:200]) from None


def read_points(submission: Submission) -> int | None:
    """Return the number of points of a path; None where the service may choose it.

    Raises:
        InvalidParameter: another value.
    """
    if submission.option("points") is None:
        return None
    return read_integer(submission, "points", USUAL_POINTS, LEAST_POINTS, MOST_POINTS)


def read_integer(submission: Submission, name: str, default: int, least: int, most: int) -> int:
    """Return an option that is a whole number from `least` to `most`.

    Raises:
        InvalidParameter: another value.
    """
    value = read_number(submission, name, default)
    if value != int(value) or not least <= value <= most:
        raise InvalidParameter(f"`{name}` must be a whole number from {least} to {most}.")
    return int(value)


def read_number(submission: Submission, name: str, default: float) -> float:
    """Return an option that is a finite number.

    Raises:
        InvalidParameter: another value.
    """
    given = submission.option(name, default)
    try:
        value = _as_number(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise InvalidParameter(f"`{name}` must be a number, not {str(given)[:40]!r}.")
    return value


def _as_number(value: Any) -> float:
    """Return a JSON number, or the number that a query or form spells.

    Raises:
        TypeError, ValueError: another value.
    """
    if isinstance(value, bool):
        raise TypeError("true and false are not numbers")
    return float(value)
