"""The limits that a new version must keep: each says what was found, the limit, and the interval.

A limit is decided on the number that was found, not on its interval: `python -m bench.flips` measures what that misses
and how often it is a false alarm.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from service.diagnostics.schemas.versions import CalibrationFound, FlipsFound, Share
from service.diagnostics.words import plural
from service.offline.against.outcome import CheckedVersion, Limit, Speed


class Most(NamedTuple):
    """A limit as it was set: a share, or a number of images or other things."""

    number: float
    is_share: bool

    @property
    def in_words(self) -> str:
        return in_percent(self.number) if self.is_share else f"{self.number:,.0f}"


@dataclass(frozen=True)
class Found:
    """The numbers that limits are for; None where one is not known, with the reason in `unknown`."""

    flips: FlipsFound | None
    disagreements: Share | None
    calibration: CalibrationFound | None
    speed: Speed | None
    old: CheckedVersion
    new: CheckedVersion
    moved: Sequence[str] | None
    unknown: dict[str, str]


class Measured(NamedTuple):
    """A number, beside a limit of the same kind, and how it is said."""

    number: float
    in_words: str


def in_percent(share: float) -> str:
    """Return a share with as many digits as tell it from a limit: `0.5 %`, `0.05 %`, `-1.25 %`."""
    if not math.isfinite(share):
        return "not a number"
    rounded = round(100 * share, 2) or 0.0  # never −0
    return f"{rounded:.2f}".rstrip("0").rstrip(".").replace("-", "−") + " %"


def interval(low: float, high: float) -> str:
    return f"95 % interval {in_percent(low)} to {in_percent(high)}"


def _of_share(share: Share, limit: Most) -> Measured:
    words = (
        f"{share.count:,} of {plural(share.of, 'image')}, {in_percent(share.share)} ({interval(share.low, share.high)})"
    )
    return Measured(share.share if limit.is_share else share.count, words)


def _negative_flips(found: Found, limit: Most) -> Measured | None:
    return None if found.flips is None else _of_share(found.flips.negative, limit)


def _disagreements(found: Found, limit: Most) -> Measured | None:
    return None if found.disagreements is None else _of_share(found.disagreements, limit)


def _accuracy_loss(found: Found, limit: Most) -> Measured | None:
    if found.flips is None:
        return None
    change = found.flips.accuracy_change
    return Measured(-change.value, f"{in_percent(-change.value)} ({interval(-change.high, -change.low)})")


def _ece_increase(found: Found, limit: Most) -> Measured | None:
    if found.calibration is None:
        return None
    change = found.calibration.change
    return Measured(change.value, f"{in_percent(change.value)} ({interval(change.low, change.high)})")


def _slowdown(found: Found, limit: Most) -> Measured | None:
    if found.speed is None:
        return None
    ratio = found.speed.ratio
    return Measured(ratio.value - 1, f"{in_percent(ratio.value - 1)} ({interval(ratio.low - 1, ratio.high - 1)})")


def _moved_layers(found: Found, limit: Most) -> Measured | None:
    return None if found.moved is None else Measured(len(found.moved), _named(found.moved))


def _new_findings(found: Found, limit: Most) -> Measured | None:
    """Findings are counted as often as they are made; which are new, only a verdict of the old version tells."""
    if found.new.verdict is None or found.old.verdict is None:
        return None
    fresh = [*(Counter(found.new.findings) - Counter(found.old.findings)).elements()]
    return Measured(len(fresh), _named(fresh))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} ({', '.join(names[:5])}{more})" if names else "none"


class Kind(NamedTuple):
    """A limit that can be set: its flag, what it limits, and the number that is found for it."""

    flag: str
    what: str
    help: str
    measured: Callable[[Found, Most], Measured | None]
    counts: bool
    """It may be a number of things."""
    shares: bool = True
    """It may be a share."""
    default: Most | None = None


KINDS: Final = (
    Kind(
        "most-negative-flips", "negative flips", "labelled images that were right before and are wrong now, as a share "
        "of all labelled images (0.5%%) or as a number (10)", _negative_flips, counts=True,
    ),
    Kind(
        "most-accuracy-loss", "loss of accuracy", "points of accuracy that may be lost, e.g. 0.5%%", _accuracy_loss,
        counts=False,
    ),
    Kind(
        "most-disagreements", "disagreements", "images, labelled or not, that the versions answer differently, as a "
        "share (1%%) or as a number (20)", _disagreements, counts=True,
    ),
    Kind(
        "most-ece-increase", "increase of the calibration error", "points that the calibration error (ECE) may gain, "
        "e.g. 1%%", _ece_increase, counts=False,
    ),
    Kind(
        "most-slowdown", "slowdown", "longer time of one image that is allowed, e.g. 20%%", _slowdown, counts=False,
    ),
    Kind(
        "most-moved-layers", "moved layers", "layers whose gradient may differ by a factor of two or more, e.g. 0",
        _moved_layers, counts=True, shares=False,
    ),
    Kind(
        "most-new-findings", "new findings", "findings of the gradients that the old version lacks (default: 0)",
        _new_findings, counts=True, shares=False, default=Most(0, False),
    ),
)  # fmt: skip


def add_limits(parser: argparse._ArgumentGroup) -> None:
    """Add a flag for every limit; those without a default are not looked at unless they are set."""
    for kind in KINDS:
        parser.add_argument(f"--{kind.flag}", type=_reader(kind), default=kind.default, metavar="LIMIT", help=kind.help)


def limits_set(options: argparse.Namespace) -> dict[str, Most]:
    """Return the limits that are set: flag → limit."""
    given = {kind.flag: getattr(options, kind.flag.replace("-", "_")) for kind in KINDS}
    return {flag: limit for flag, limit in given.items() if limit is not None}


def _reader(kind: Kind) -> Callable[[str], Most]:
    def read(text: str) -> Most:
        forms = [*(["a share such as 0.5%"] if kind.shares else []), *(["a whole number"] if kind.counts else [])]
        if kind.counts and text.isdecimal():
            return Most(float(text), False)
        try:  # as decimals: 0.3 / 100 is not 0.003, and 6 of 2,000 images are
            share = (
                float(Decimal(text.removesuffix("%")).scaleb(-2)) if kind.shares and text.endswith("%") else math.nan
            )
        except InvalidOperation:
            share = math.nan
        if not 0 <= share < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r}: {' or '.join(forms)} is needed")
        return Most(share, True)

    return read


def judged(found: Found, limits: dict[str, Most]) -> list[Limit]:
    """Return what came of every limit that is set."""
    return [_judged(kind, found, limits[kind.flag]) for kind in KINDS if _is_judged(kind, found, limits.get(kind.flag))]


def _is_judged(kind: Kind, found: Found, limit: Most | None) -> bool:
    """Tell whether a limit is set; one that nobody set is not, where the old version has no verdict to compare with."""
    if kind.flag == "most-new-findings" and limit is kind.default:
        return found.old.verdict is not None or found.new.verdict is None
    return limit is not None


def _judged(kind: Kind, found: Found, limit: Most) -> Limit:
    measured = kind.measured(found, limit)
    allowed = f"at most {limit.in_words}"
    if measured is None:
        why = found.unknown.get(kind.flag, "it was not measured")
        because = f"{kind.what}: not measured, because {why} (limit: {allowed})"
        return Limit(name=kind.flag, what=kind.what, state="not measured", limit=allowed, value="", because=because)
    is_kept = measured.number <= limit.number
    return Limit(
        name=kind.flag,
        what=kind.what,
        state="kept" if is_kept else "broken",
        limit=allowed,
        value=measured.in_words,
        because=f"{kind.what}: {measured.in_words} (limit: {allowed})",
    )
