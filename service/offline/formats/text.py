"""Writes what was found of a model for people: a few lines without symbols, the state first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from service.diagnostics.schemas.base import Explained
from service.diagnostics.verdicts.explanations import in_repository
from service.diagnostics.words import sentence
from service.offline.outcome import Judged, Outcome
from service.output.printable import printable

MOST_ADVICE: Final = 3
"""Pieces of advice that are printed; the guide has all."""
LONGEST_LINE: Final = 4000


def all_in_text(outcomes: Sequence[Outcome]) -> str:
    """Return the lines of all models."""
    return "".join(f"{in_text(outcome)}\n" for outcome in outcomes)


def in_text(outcome: Outcome) -> str:
    """Return what was found at one path, in lines."""
    if not isinstance(outcome, Judged):
        return printable(f"{outcome.path}: cannot be judged: {outcome.error}", LONGEST_LINE)
    return "\n".join(printable(line, LONGEST_LINE) for line in _lines(outcome))


def guide(explained: Explained) -> str:
    """Return where to read on in the repository; a running service shows the same at `link`."""
    return in_repository(explained.link)


def _lines(judged: Judged) -> Iterator[str]:
    verdict = judged.verdict
    yield f"{judged.name}: {judged.state}. {verdict.because}"
    yield f"  What it means: {verdict.meaning}"
    yield f"  What to try: {_advice(verdict)}"
    for finding in verdict.findings[1:]:
        yield f"  Also {finding.finding}: {finding.because} ({guide(finding)})"
    for reason in (*verdict.not_looked_for, *verdict.does_not_apply.values()):
        yield f"  {reason}"
    if judged.unlike_itself is not None:
        yield f"  Beside its training: {judged.unlike_itself.meaning} {judged.unlike_itself.because}"
    for note in judged.notes:
        yield f"  Note: {note}"
    yield f"  Looked at: {sentence(judged.images.in_words)}"


def _advice(explained: Explained) -> str:
    """Return the likeliest advice on one line, numbered where there are several, with the link to the rest."""
    likeliest = explained.advice[:MOST_ADVICE]
    numbered = [f"({number}) {one}" for number, one in enumerate(likeliest, 1)] if len(likeliest) > 1 else likeliest
    more = "more at " if len(explained.advice) > MOST_ADVICE else "see "
    return " ".join([*numbered, f"[{more}{guide(explained)}]"])
