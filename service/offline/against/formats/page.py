"""The page of a check against another version: its sections in order, in one file that asks for no other."""

from __future__ import annotations

from datetime import datetime

from service.offline.against.formats.sections import (
    cards,
    facts,
    label_section,
    layer_section,
    limit_section,
    note_section,
    verdict_section,
    version_section,
    worst_section,
)
from service.offline.against.outcome import Against
from service.offline.report.page import document


def in_html(found: Against) -> str:
    """Return the outcome as one HTML page, with thumbnails of the images that became wrong."""
    made = [
        limit_section(found),
        version_section(found),
        label_section(found),
        worst_section(found),
        layer_section(found),
        verdict_section(found),
        note_section(found),
    ]
    title = f"{found.new.name} against {found.old.name}"
    summary = [cards(found), facts(found, datetime.now().astimezone())]
    return document(title, summary, [one for one in made if one is not None])
