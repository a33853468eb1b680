"""A part of the measurements on a GPU: it yields rows, and writes a section about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Row = dict[str, Any]
"""One measurement as JSON. `key` names it in its part; `error` says why there is nothing else."""

LONGEST_REASON = 300


@dataclass(frozen=True)
class Setting:
    """The extent of a measurement, and its time.

    Attributes:
        seconds: the part's share of the time; it yields its most important rows first.
        device: where it measures. On a CPU it shows that everything runs.
        small: measure as little as there is.
        bundles: a folder of bundles.
        done: keys of the rows that are there already, which need not be measured.
    """

    seconds: float
    device: Literal["cuda", "cpu"]
    small: bool
    bundles: Path
    done: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Part:
    """A part by its name: how it is measured, and what Markdown its rows become."""

    name: str
    measure: Callable[[Setting], Iterator[Row]]
    section: Callable[[Sequence[Row]], str]
    """It is given no row that failed."""


def attempt(setting: Setting, key: str, measure: Callable[[], Row]) -> Iterator[Row]:
    """Yield the row `key` unless it is there; what goes wrong becomes its `error`, so that the next row is measured."""
    if key in setting.done:
        return
    try:
        row = measure()
    except Exception as error:
        row = {"error": reason(error)}
    yield {"key": key, **row}


def reason(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no word'}"[:LONGEST_REASON]


def failures(title: str, found: Iterable[tuple[str, str]]) -> list[str]:
    """Return a title and a list of reasons, each with all that failed for it; nothing where nothing did."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for why, what in found:
        by_reason[why].append(what)
    lines = [f"- {why}: {', '.join(failed)}" for why, failed in by_reason.items()]
    return [f"#### {title}", "\n".join(lines)] if lines else []
