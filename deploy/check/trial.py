"""What a trial gives back, and how it reads in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """One thing that was tried: what was found, what was wanted, and whether it is so."""

    name: str
    found: str
    wanted: str
    passed: bool


def table(trials: Sequence[Trial]) -> str:
    """A Markdown table, one row per trial."""
    rows = [
        f"| {'yes' if trial.passed else '**no**'} | {trial.name} | {trial.found} | {trial.wanted} |" for trial in trials
    ]
    return "\n".join(["| passed | tried | found | wanted |", "|---|---|---|---|", *rows])
