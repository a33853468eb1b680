"""How often a limit on negative flips is broken in draws of images, by the product's own decision."""

from __future__ import annotations

import math

import numpy as np

from service.diagnostics.versions.flips import Flips
from service.diagnostics.versions.intervals import share_of, wilson
from service.offline.against.limits import Found, Most, judged
from service.offline.against.outcome import CheckedVersion

FLAG = "most-negative-flips"
NOBODY = CheckedVersion(
    path="", model="", version="1", bundle="", labels=0, parameters=None, bytes_on_disk=None, verdict=None
)


def is_broken(flips: Flips, limit: Most) -> bool:
    """Decide the limit as `check --against` does."""
    found = Found(flips.found(), None, None, None, NOBODY, NOBODY, None, {})
    (one,) = judged(found, {FLAG: limit})
    return one.state == "broken"


def broken_in(flips: Flips, limit: Most, images: int, draws: int, seed: int) -> int:
    """Return in how many draws of `images` the limit is broken.

    Args:
        flips: counts of the images that are drawn from, with replacement.
    """
    shares = np.array([flips.both_right, flips.negative, flips.positive, flips.both_wrong]) / flips.images
    counts = np.random.default_rng(seed).multinomial(images, shares, size=draws)
    return sum(is_broken(Flips(*map(int, row)), limit) for row in counts)


def chance_of_more(limit: float, images: int, share: float) -> float:
    """Return how often more than limit · images of so many images flip, where `share` of all do: by the binomial."""
    most = math.floor(limit * images + 1e-9)
    return 1 - sum(_chance(count, images, share) for count in range(most + 1))


def chance_of_certain(limit: float, images: int, share: float) -> float:
    """Return how often the lower end of the interval is above the limit, which would be the other rule."""
    counts = range(images + 1)
    least = next(count for count in counts if wilson(count, images)[0] > limit)
    return 1 - sum(_chance(count, images, share) for count in range(least))


def _chance(count: int, images: int, share: float) -> float:
    if not share:
        return float(count == 0)
    log = math.lgamma(images + 1) - math.lgamma(count + 1) - math.lgamma(images - count + 1)
    return math.exp(log + count * math.log(share) + (images - count) * math.log1p(-share))


def in_draws(count: int, draws: int) -> str:
    """Return a share of the draws with its interval."""
    share = share_of(count, draws)
    if share is None:
        return "none"
    return f"{100 * share.share:.2f} % ({100 * share.low:.2f} to {100 * share.high:.2f})"
