"""The page: its sections in order, in one file that asks for no other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from service.offline.model import OfflineModel
from service.offline.report.classes import class_section
from service.offline.report.galleries import gallery_sections
from service.offline.report.judgement import judged, layer_section, verdict_section
from service.offline.report.markup import tag
from service.offline.report.summary import heading, summary
from service.offline.report.tally import tally_of
from service.offline.report.terms import terms_section

STYLE: Final = Path(__file__).parents[2] / "static" / "report.css"


def render(table: Path, folder: Path, model: OfflineModel, made: datetime) -> str:
    """Return the report on `table`, with thumbnails of the images in `folder`.

    Args:
        made: when the report is made, with a time zone.
    """
    tally = tally_of(table, model.bundle)
    judgement = judged(tally)
    sections = [
        class_section(model.bundle, tally.answers),
        verdict_section(judgement, accuracy_is_known=bool(tally.answers.labelled)),
        *gallery_sections(tally, folder),
        layer_section(judgement, model.bundle),
        terms_section(),
    ]
    head = summary(table, folder, model, tally, judgement, made)
    return document(heading(model.bundle, tally), head, [one for one in sections if one is not None])


def document(title: str, summary: Sequence[Element], shown: Sequence[Element]) -> str:
    """Return a page with its style inside: the summary, links to the sections, and the sections."""
    style = tag("style")
    style.text = STYLE.read_text(encoding="utf-8")  # as it is: text that is put in is made printable, on one line
    links = [tag("a", one[0].text, href=f"#{one.get('id')}") for one in shown]
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("title", title),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            style,
        ),
        tag(
            "body",
            tag("a", "Skip to the report", href="#report", class_="skip"),
            tag(
                "main",
                tag("h1", title),
                *summary,
                tag("nav", *links, aria_label="Sections"),
                *shown,
                id="report",
            ),
        ),
        lang="en",
    )
    return "<!doctype html>\n" + ElementTree.tostring(page, encoding="unicode", method="html") + "\n"
