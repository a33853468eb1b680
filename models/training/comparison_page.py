"""The section of docs/reports/training.md that compares the options of the recipe.

It stands between two marks, and everything else on the page is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Final

BEGIN: Final = "<!-- begin: python -m models recipes -->"
END: Final = "<!-- end: python -m models recipes -->"


@dataclass(frozen=True)
class Result:
    """One run: errors are shares, 0 to 1; the training error is that of the finished net, without augmentation."""

    option: str
    seed: int
    held_out_error: float
    train_error: float
    seconds_per_epoch: float
    device: str


def seed_spread(results: Iterable[Result]) -> float | None:
    """Return the standard deviation over seeds of the held-out error, pooled over the options; None with one seed each.

    Each option's few seeds say little about their spread, and all options' together say more.
    """
    squares, freedom = 0.0, 0
    for errors in _by_option(results).values():
        if len(errors) > 1:
            squares += variance(result.held_out_error for result in errors) * (len(errors) - 1)
            freedom += len(errors) - 1
    return math.sqrt(squares / freedom) if freedom else None


def section(setup: str, results: list[Result], in_words: Callable[[str], str], base: str) -> str:
    """Return the table as Markdown, options in the order of their first results."""
    by_option, spread = _by_option(results), seed_spread(results)
    rows = [
        "| option | alone | seeds | held-out error | less that of the base | training error | seconds per epoch |",
        "|---|---|---|---|---|---|---|",
    ]
    for option, runs in by_option.items():
        mean = fmean(run.held_out_error for run in runs)
        error = _with_error(mean, spread, 1 / len(runs), sign="")
        difference = "–"
        if option != base and base in by_option:
            of_base = by_option[base]
            less = mean - fmean(run.held_out_error for run in of_base)
            difference = _with_error(less, spread, 1 / len(runs) + 1 / len(of_base), sign="+")
        trained, seconds = fmean(run.train_error for run in runs), fmean(run.seconds_per_epoch for run in runs)
        cells = (f"`{option}`", in_words(option), str(len(runs)), error, difference, f"{100 * trained:.2f} %")
        rows.append(f"| {' | '.join(cells)} | {seconds:.2f} |")
    devices = ", ".join(sorted({run.device for run in results}))
    return f"Measured: {setup}; on {devices}. {_about_errors(spread)}\n\n" + "\n".join(rows)


def _about_errors(spread: float | None) -> str:
    if spread is None:
        return "One seed each, so how far another seed would be away is not known."
    return (
        f"Between seeds, the held-out error has a standard deviation of {100 * spread:.2f} points, pooled over the "
        "options; ± is the standard error that follows from it."
    )


def _with_error(value: float, spread: float | None, per_run: float, sign: str) -> str:
    """Write a share in percent, with its standard error if it is known."""
    unit = "points" if sign else "%"
    error = "" if spread is None else f" ± {100 * spread * math.sqrt(per_run):.2f}"
    return f"{100 * value:{sign}.2f}{error} {unit}"


def _by_option(results: Iterable[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.option, []).append(result)
    return found


def require_place(page: Path) -> None:
    """Raise ValueError where the page has not the two marks in order."""
    before, begin, after = page.read_text(encoding="utf-8").partition(BEGIN)
    if not begin or END in before or END not in after:
        raise ValueError(f"{page} has no place for the table: {BEGIN} … {END}")


def write_section(page: Path, text: str) -> None:
    """Put `text` (Markdown) between the marks."""
    require_place(page)
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
