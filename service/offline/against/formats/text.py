"""Writes what was found of two versions for people: the limits first, then both beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from service.offline.against.formats.sentences import beside, findings, headline, images_in_words
from service.offline.against.outcome import Against
from service.output.printable import printable

LONGEST_LINE: Final = 4000
MOST_LABELS: Final = 5
MOST_WORST: Final = 5
"""Images that are named; the page has twenty, with pictures."""


def in_text(found: Against) -> str:
    """Return what was found, in lines."""
    return "".join(f"{printable(line, LONGEST_LINE)}\n" for line in _lines(found))


def _lines(found: Against) -> Iterator[str]:
    yield headline(found)
    for limit in found.limits:
        yield f"  {limit.state}: {limit.because}"
    for row in beside(found):
        change = f" ({row.change})" if row.change else ""
        yield f"  {row.what}: {row.before} before, {row.now} now{change}"
    for line in findings(found):
        yield f"  {line}"
    worse = [one for one in found.by_label if one.negative.count][:MOST_LABELS]
    if worse:
        named = ", ".join(f"{one.label} {one.negative.count:,} of {one.images:,}" for one in worse)
        yield f"  Labels with the largest share of negative flips: {named}"
    for one in found.worst[:MOST_WORST]:
        yield f"  Right before, wrong now: {one.path}: {one.before}, now {one.now}"
    for which, version in (("Before", found.old), ("Now", found.new)):
        if version.verdict is not None and version.verdict.state != "healthy":
            yield f"  {which} {version.verdict.state}: {version.verdict.because}"
    for note in found.notes:
        yield f"  Note: {note}"
    yield f"  Looked at: {images_in_words(found)}"
