"""Writes what was found as Markdown for a pull request: a table of all models, and what to do about each, folded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from service.diagnostics.schemas.base import Explained
from service.diagnostics.words import sentence
from service.offline.formats.text import guide
from service.offline.outcome import Judged, Outcome
from service.output.printable import printable

SPECIAL = re.compile(r"([\\*_\[\]|~])")
"""Characters that would mark up a text in the middle of a line; backticks are meant."""


def in_markdown(outcomes: Sequence[Outcome]) -> str:
    """Return all outcomes as one Markdown text, as GitHub and GitLab show it.

    It ends in an empty line, without which the heading of a text that is put behind it would belong to its last block.
    """
    rows = ["| model | verdict | what was seen |", "|---|---|---|", *map(_row, outcomes)]
    details = [line for outcome in outcomes if isinstance(outcome, Judged) for line in _details(outcome)]
    return "\n".join(["### Contraflow: are the models healthy?", "", *rows, "", *details]).rstrip() + "\n\n"


def plain(text: str) -> str:
    """Return text on one line, of which only what is between backticks is marked up."""
    return html.escape(SPECIAL.sub(r"\\\1", printable(text, 2000)), quote=False)


def _row(outcome: Outcome) -> str:
    if not isinstance(outcome, Judged):
        return f"| {plain(outcome.path)} | **cannot be judged** | {plain(outcome.error)} |"
    state = outcome.state if outcome.exit_status == 0 else f"**{outcome.state}**"
    seen = " ".join([outcome.verdict.because, *outcome.verdict.not_looked_for])
    return f"| {plain(outcome.name)} | {state} | {plain(seen)} |"


def _details(judged: Judged) -> Iterator[str]:
    verdict = judged.verdict
    yield f"<details><summary>{html.escape(judged.name)}: what it means, and what to try</summary>"
    yield ""
    everything: Sequence[Explained] = verdict.findings or [verdict]
    for found in everything:
        yield from _explained(found)
    for reason in (*verdict.does_not_apply.values(), *judged.notes):
        yield f"- {plain(reason)}"
    if judged.unlike_itself is not None:
        yield f"- {plain(f'{judged.unlike_itself.meaning} {judged.unlike_itself.because}')}"
    yield f"- Looked at: {plain(sentence(judged.images.in_words))}"
    yield ""
    yield "</details>"
    yield ""


def _explained(explained: Explained) -> Iterator[str]:
    yield f"{plain(explained.because)} {plain(explained.meaning)}"
    yield ""
    yield from (f"1. {plain(one)}" for one in explained.advice)
    yield ""
    yield f"({plain(guide(explained))})"
    yield ""
