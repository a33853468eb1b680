"""How many runs an image gets: as many as the caller says, else as many as there is time for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from service.diagnostics.schemas.explanation import Method

USUAL_STEPS: Final[dict[Method, int]] = {"integrated_gradients": 64, "smooth_grad": 50}
"""Runs per image of the methods that take several, where there is time for them.

How right 64 points of a path are, `completeness` says of every image. 50 noisy copies are those of Smilkov et al. 2017,
who saw little change beyond.
"""
LEAST_STEPS: Final = 8
MOST_STEPS: Final = 256
STEP: Final = 8
"""Numbers that are chosen for lack of time are multiples of it, so that answers can mostly be compared."""
PLANNED_SHARE: Final = 2 / 3
"""Part of what fits into the time that is planned: a machine may become busier on the way."""

Fitting = Callable[[int, float], int]
"""How many images can still be run, down to the picture, after so many have just been run at once in so many seconds.

None stands for as many as wanted.
"""


class NoTime(Exception):
    """There is no time for the steps that were asked for, or for the fewest; the message says how many there are."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The runs of each image, and why there are fewer than usual; None where there are not."""

    count: int
    note: str | None = None


def steps_of(method: Method, named: int | None, images: int, fitting: int | None) -> Steps:
    """Return how many runs each of `images` gets, of a method that takes several.

    Args:
        named: what the caller says; None where the service chooses.
        fitting: images that can still be run before the deadline; None without one.

    Raises:
        NoTime: not even `named`, or the fewest, fit.
    """
    usual = USUAL_STEPS[method]
    if fitting is None:
        return Steps(named or usual)
    if fitting < images * (named or LEAST_STEPS):
        each = "" if images == 1 else f" for each of {images} images"
        wanted = f"{named} steps{each}" if named else f"even the fewest steps, {LEAST_STEPS}{each}"
        raise NoTime(f"The deadline is too near for {wanted}: about {fitting} images can be run until then.")
    if named:
        return Steps(named)
    most = int(fitting * PLANNED_SHARE) // images
    count = usual if most >= usual else max(LEAST_STEPS, most - most % STEP)
    if count >= usual:
        return Steps(usual)
    return Steps(
        count,
        f"{count} steps, not {usual}: the deadline was near, and with more the answer might have come too late.",
    )
