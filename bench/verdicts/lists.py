"""The two lists of kinds, and one network of them judged by its place: in another process, say."""

from __future__ import annotations

from bench.verdicts.corpus import Case, cases
from bench.verdicts.held_out.unseen import unseen
from bench.verdicts.judging import Judged, judge_case

LISTS = ("fit", "held out")


def listed(name: str, deepest: int) -> list[Case]:
    """Return the kinds of a list; in the list that thresholds were fit to, none deeper than `deepest`."""
    return list(cases(deepest) if name == "fit" else unseen())


def judge_one(name: str, deepest: int, index: int, seed: int) -> Judged:
    """Judge one network of a list."""
    return judge_case(listed(name, deepest)[index], seed)
