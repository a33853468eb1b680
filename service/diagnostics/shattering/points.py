"""How many points a path has: as many as the caller says, else as many as there is time for."""

from __future__ import annotations

from typing import Final

POINTS: Final = 64
"""Points of a path for which there is time, where the caller says nothing."""
LEAST_POINTS: Final = 16
MOST_POINTS: Final = 256
STEP: Final = 8
"""Numbers that are chosen are multiples of it, so that answers of one model can mostly be compared."""
PLANNED_SHARE: Final = 2 / 3
"""Part of what fits into the time that is planned: a machine may become busier on the way."""
SURE_SHARE: Final = 1 / 4
"""Part of the time into which a path must fit by the learnt speed, or else its ends show how fast the model is now."""


def chosen_points(fitting: int) -> int:
    """Return the number of points where the caller says nothing, and `fitting` images can be run before the deadline.

    No fewer than `LEAST_POINTS`, for which there must be time.
    """
    most = planned(fitting)
    return max(LEAST_POINTS, min(POINTS, most - most % STEP))


def planned(fitting: int) -> int:
    """Return how many of the images that fit into the time are planned."""
    return int(fitting * PLANNED_SHARE)


def note_on_points(points: int, seconds: float) -> str | None:
    """Return why the service has chosen so few `points`, `seconds` before the deadline; None if there are `POINTS`."""
    if points >= POINTS:
        return None
    return (
        f"The path has {points} points, not {POINTS}: the deadline was {seconds:.1f} s away, and with more points the "
        f"answer might have come too late. The verdict's bounds are those for {points} points."
    )


def no_time(named: int | None, fitting: int, seconds: float) -> str:
    """Return why a path is refused, `seconds` before the deadline, if about `fitting` images can be run until then.

    `named` is the number of points that the caller wants; None: any.
    """
    wanted = f"a path of {named} points" if named else f"even the shortest path of {LEAST_POINTS} points"
    fit = f"{fitting} points would fit" if fitting >= LEAST_POINTS else f"about {fitting} images can be run"
    return f"The deadline is too near for {wanted}: {fit} in the {seconds:.1f} s that are left."
