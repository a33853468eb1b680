"""Writes what was found of two versions as Markdown for a pull request: limits and a table, the details folded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from service.offline.against.formats.sentences import beside, findings, headline, images_in_words, signed
from service.offline.against.limits import in_percent
from service.offline.against.outcome import Against
from service.offline.formats.markdown import plain

MOST_LABELS: Final = 20
MOST_LAYERS: Final = 20
SIGNS: Final = {"kept": "kept", "broken": "**broken**", "not measured": "**not measured**"}


def in_markdown(found: Against) -> str:
    """Return the outcome as one Markdown text, as GitHub and GitLab show it."""
    return "\n".join(_lines(found)).rstrip() + "\n\n"  # as in_markdown of offline.formats does


def _lines(found: Against) -> Iterator[str]:
    yield f"### Contraflow: {plain(headline(found))}"
    yield ""
    if found.limits:
        yield from _table("| limit | found | allowed | |", [
            [plain(one.what), plain(one.value or one.because), plain(one.limit), SIGNS[one.state]]
            for one in found.limits
        ])  # fmt: skip
    yield from _table(
        "| | before | now | change |", [[plain(cell) for cell in (row.what, row.before, row.now, row.change)]
        for row in beside(found)]
    )  # fmt: skip
    for line in findings(found):
        yield f"- {plain(line)}"
    yield ""
    yield from _folded("Labels", "| label | images | before | now | right → wrong | wrong → right |", [
        [plain(one.label), f"{one.images:,}", in_percent(one.accuracy_before), in_percent(one.accuracy_now),
         f"{one.negative.count:,}", f"{one.positive.count:,}"]
        for one in found.by_label[:MOST_LABELS]
    ])  # fmt: skip
    yield from _folded("Images that were right and are wrong now", "| image | label | now | loss, nats |", [
        [plain(one.path), plain(one.label), plain(one.now), signed(one.loss_increase)] for one in found.worst
    ])  # fmt: skip
    if found.loss_by_layer is not None:
        yield from _folded("Layers by their share in the change of the loss", "| layer | nats |", [
            [plain(one.layer), signed(one.change)] for one in found.loss_by_layer.layers[:MOST_LAYERS]
        ])  # fmt: skip
    yield from _folded("Layers whose gradient moved", "| layer | now / before |", [
        [plain(one.layer), f"10^{one.decades:+.2f}"] for one in found.moved_layers[:MOST_LAYERS]
    ])  # fmt: skip
    for note in found.notes:
        yield f"- {plain(note)}"
    yield f"- Looked at: {plain(images_in_words(found))}"


def _table(head: str, rows: list[list[str]]) -> Iterator[str]:
    yield head
    yield "|" + "---|" * (head.count("|") - 1)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _folded(title: str, head: str, rows: list[list[str]]) -> Iterator[str]:
    if rows:
        yield f"<details><summary>{title}</summary>"
        yield ""
        yield from _table(head, rows)
        yield "</details>"
        yield ""
