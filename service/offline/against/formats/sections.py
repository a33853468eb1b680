"""The parts of the page of a check against another version."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from service.contract.bundle_schema import InputSpec
from service.diagnostics.words import plural, sentence
from service.offline.against.formats.sentences import (
    beside,
    findings,
    headline,
    images_in_words,
    layers_in_words,
    moved_in_words,
    signed,
)
from service.offline.against.limits import in_percent
from service.offline.against.outcome import Against, CheckedVersion, Flipped
from service.offline.report.galleries import thumbnail
from service.offline.report.markup import Content, folded, number, section, spoken, table, tag
from service.offline.report.summary import card

MOST_ROWS: Final = 25
"""Labels and layers that a table shows before the rest is folded."""
AS_SEEN: Final = InputSpec(height=1, width=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Thumbnails are in colour, and turned as their EXIF data say."""


def cards(found: Against) -> Element:
    """Return the three cards with the answers: limits, accuracy, flips."""
    state = "limits kept" if not found.exit_status else "limits broken"
    made = [card("Limits", state, headline(found), kind="sick" if found.exit_status else "fine")]
    if (flips := found.flips) is not None:
        change = flips.accuracy_change
        made.append(
            card(
                "Accuracy" if found.label_kind == "exclusive" else "Labels found (recall)",
                in_percent(flips.accuracy_now.share),
                f"{in_percent(flips.accuracy_before.share)} before; the change is {100 * change.value:+.2f} points (95 "
                f"% interval {100 * change.low:+.2f} to {100 * change.high:+.2f}).",
            )
        )
        negative = flips.negative
        made.append(
            card(
                "Right before, wrong now",
                in_percent(negative.share),
                f"{negative.count:,} of {plural(negative.of, 'image')} (95 % interval {in_percent(negative.low)} to "
                f"{in_percent(negative.high)}). {flips.positive.count:,} became right.",
            )
        )
    elif (differing := found.disagreements) is not None:
        words = f"{differing.count:,} of {plural(differing.of, 'image')} are answered differently."
        made.append(card("Disagreements", in_percent(differing.share), words))
    return tag("div", *made, class_="cards")


def facts(found: Against, made: datetime) -> Element:
    """Return what was compared, and when."""
    when = tag("time", made.isoformat(sep=" ", timespec="seconds"), datetime=made.isoformat(timespec="seconds"))
    listed: list[tuple[str, Content]] = [
        ("Made", when),
        ("Before", f"{found.old.name}, bundle {found.old.bundle} ({found.old.path})"),
        ("Now", f"{found.new.name}, bundle {found.new.bundle} ({found.new.path})"),
        ("Images", images_in_words(found)),
    ]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in listed), class_="facts")


def limit_section(found: Against) -> Element | None:
    """Return every limit that is set, with what was found."""
    if not found.limits:
        return None
    rows: list[list[Content]] = [
        [
            one.what,
            tag("td", one.limit, class_="text"),
            tag("td", one.value or one.because, class_="text"),
            tag("td", one.state, class_="text state " + ("fine" if one.state == "kept" else "sick")),
        ]
        for one in found.limits
    ]
    words = "A limit is decided on the number that was found. Its interval says how sure that number is."
    return section("limits", "Limits", tag("p", words), table("Limits", ["", "allowed", "found", ""], rows))


def version_section(found: Against) -> Element:
    """Return both versions beside each other, and the findings in sentences."""
    rows: list[list[Content]] = [[row.what, row.before, row.now, row.change] for row in beside(found)]
    return section(
        "versions",
        "Before and now",
        table(f"{found.old.name} and {found.new.name}", ["", "before", "now", "change"], rows),
        tag("ul", *(tag("li", line) for line in findings(found))),
    )


def label_section(found: Against) -> Element | None:
    """Return the flips of each label, and the most frequent changes of an answer."""
    if not found.by_label and not found.changed:
        return None
    rows: list[list[Content]] = [
        [
            one.label,
            f"{one.images:,}",
            in_percent(one.accuracy_before),
            in_percent(one.accuracy_now),
            f"{one.negative.count:,}",
            f"{in_percent(one.negative.low)} to {in_percent(one.negative.high)}",
            f"{one.positive.count:,}",
        ]
        for one in found.by_label
    ]
    head: list[Content] = [
        "label",
        "images",
        "right before",
        "right now",
        "became wrong",
        "95 % interval",
        "became right",
    ]
    parts: list[Content] = []
    if rows:
        parts.append(table("Labels, the largest share of negative flips first", head, rows[:MOST_ROWS]))
    if len(rows) > MOST_ROWS:
        parts.append(folded(f"{len(rows) - MOST_ROWS:,} more labels", table("More labels", head, rows[MOST_ROWS:])))
    if found.changed:
        pairs: list[list[Content]] = [
            [one.before or "no label", tag("td", one.now or "no label", class_="text"), f"{one.images:,}"]
            for one in found.changed
        ]
        parts.append(folded("The most frequent changes", table("Changes", ["before", "now", "images"], pairs, "named")))
    return section("labels", "Labels", *parts)


def worst_section(found: Against) -> Element | None:
    """Return pictures of the negative flips whose loss grew most."""
    if not found.worst:
        return None
    return section(
        "worst",
        "Right before, wrong now",
        tag("p", "Of the images that became wrong, those whose loss grew most come first."),
        tag("ul", *(_picture(one, Path(found.images.folder)) for one in found.worst), class_="gallery"),
    )


def _picture(one: Flipped, folder: Path) -> Element:
    shown = thumbnail(folder / one.path, AS_SEEN)
    image = (
        tag("img", alt=f"picture {one.path}", src=shown[0], class_="tiny" if shown[1] else None, loading="lazy")
        if shown
        else tag("span", "This picture cannot be read any more.", class_="missing")
    )
    lines = [
        f"labelled {one.label}",
        f"now {one.now or 'no label'}",
        f"{in_percent(one.probability_before)} for the label before, {in_percent(one.probability_now)} now",
        f"loss {signed(one.loss_increase)} nats",
    ]
    return tag("li", image, tag("b", one.path), *(tag("span", line) for line in lines))


def layer_section(found: Against) -> Element | None:
    """Return which layers changed the loss, and which layers' gradients moved."""
    parts: list[Content] = []
    if (by_layer := found.loss_by_layer) is not None:
        parts.append(tag("p", layers_in_words(found)))
        rows: list[list[Content]] = [[one.layer, signed(one.change)] for one in by_layer.layers]
        made = table("Change of the mean loss by layer, the largest first", ["layer", "nats"], rows[:MOST_ROWS])
        parts.append(made)
        if len(rows) > MOST_ROWS:
            more = table("More layers", ["layer", "nats"], rows[MOST_ROWS:])
            parts.append(folded(f"{len(rows) - MOST_ROWS:,} more layers", more))
    if found.moved is not None:
        parts.append(tag("p", moved_in_words(found)))
        moved: list[list[Content]] = [
            [one.layer, tag("td", one.other_layer, class_="text"), _ratio(one.decades), "moved" if one.moved else ""]
            for one in found.moved
        ]
        shown = table("Gradients of the layers", ["layer before", "layer now", "now / before", ""], moved, "named")
        parts.append(folded(f"All {plural(len(moved), 'layer')}", shown))
    return section("layers", "Layers", *parts) if parts else None


def _ratio(decades: float) -> str:
    return number(10**decades) if math.isfinite(decades) and decades < 300 else "not known"


def verdict_section(found: Against) -> Element:
    """Return the verdicts on both versions' gradients."""
    looked = found.gradients_on
    words = "" if looked is None else f"By the gradients on {sentence(looked.in_words)}"
    return section(
        "verdicts",
        "Gradients",
        tag("p", words),
        *_verdict("Before", found.old),
        *_verdict("Now", found.new),
    )


def _verdict(when: str, version: CheckedVersion) -> list[Content]:
    if version.verdict is None:
        return [tag("h3", f"{when}: no verdict"), tag("p", sentence(version.no_verdict or ""))]
    verdict = version.verdict
    return [
        tag("h3", f"{when}: {verdict.state}"),
        tag("p", *spoken(verdict.because)),
        tag("p", *spoken(verdict.meaning)),
    ]


def note_section(found: Against) -> Element | None:
    """Return what does not apply or was not measured."""
    if not found.notes:
        return None
    return section("notes", "Not measured, and what to know", tag("ul", *(tag("li", one) for one in found.notes)))
