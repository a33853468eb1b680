"""Shows what each class is taken for: a confusion matrix where it fits, the classes, and the pairs most confused."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final
from xml.etree.ElementTree import Element

from service.contract.bundle_schema import Bundle
from service.diagnostics.versions.intervals import wilson
from service.diagnostics.words import plural
from service.offline.report.markup import Content, folded, in_percent, section, table, tag
from service.offline.report.tally import Answers

MOST_CLASSES: Final = 20
"""Rows and columns of the largest confusion matrix, and rows of the longest table of classes that is not folded."""
MOST_PAIRS: Final = 25
STRONGEST: Final = 0.6
"""Opacity of the colour of a cell that has all images of its row."""


def class_section(bundle: Bundle, answers: Answers) -> Element | None:
    """Return the section on classes; None where no image with a label could be decoded."""
    if not answers.images:
        return None
    named = len(answers.images)
    parts: list[Content] = [
        tag("p", f"{plural(named, 'label')} of the model's {len(bundle.labels):,} have images. {_balance(answers)}")
    ]
    classes = class_table(bundle, answers)
    if bundle.label_kind == "independent":
        parts.append(
            tag(
                "p",
                "A folder names one label of its images and says nothing of the others. So this counts how often "
                "that label is found, and not how often a label is found where it does not apply.",
            )
        )
    elif len(columns := shown_labels(bundle, answers)) <= MOST_CLASSES:
        parts.append(confusion_matrix(bundle, answers, columns))
    elif pairs := pair_table(bundle, answers):
        parts.append(pairs)
    if named > MOST_CLASSES:
        classes = folded(f"All {named:,} classes with images, the least often recognized first", classes)
    return section("classes", "Classes", *parts, classes)


def shown_labels(bundle: Bundle, answers: Answers) -> list[str]:
    """Return the columns of the matrix: all labels of a small model, else those that occur."""
    if len(bundle.labels) <= MOST_CLASSES:
        return list(bundle.labels)
    occurring = set(answers.images).union(*answers.taken_for.values())
    return [label for label in bundle.labels if label in occurring]


def confusion_matrix(bundle: Bundle, answers: Answers, columns: list[str]) -> Element:
    """Return the confusion matrix: rows are the folder's labels, columns the answers."""
    rows: list[list[Content]] = [
        [label, *(_cell(answers, label, answer) for answer in columns)]
        for label in bundle.labels
        if label in answers.images
    ]
    caption = "Confusion matrix: images of each label (rows) by what the model answers (columns)"
    head = [tag("span", "label"), *(tag("span", column) for column in columns)]
    return table(caption, head, rows, "confusion")


def _cell(answers: Answers, label: str, answer: str) -> Element:
    count = answers.taken_for[label][answer]
    if not count:
        return tag("td", "0", class_="none")
    colour = "right" if answer == label else "wrong"
    strength = STRONGEST * math.sqrt(count / answers.images[label])  # so that a few per cent are seen
    return tag("td", f"{count:,}", style=f"background: rgb(var(--{colour}-tint) / {strength:.3f})")


def pair_table(bundle: Bundle, answers: Answers) -> Element | None:
    """Return the pairs of label and answer that occur most often; None if every answer is right."""
    pairs = Counter(
        {(label, other): count for label, taken in answers.taken_for.items() for other, count in taken.items()
         if other != label}
    )  # fmt: skip
    if not pairs:
        return None
    rows = [
        [label, other, f"{count:,} of {answers.images[label]:,}", in_percent(count / answers.images[label])]
        for (label, other), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_PAIRS]
    ]
    title = f"The {len(rows)} most frequent confusions of {len(pairs):,}" if len(pairs) > len(rows) else "Confusions"
    return table(title, ["label", "taken for", "images", "share"], rows, "named")


def class_table(bundle: Bundle, answers: Answers) -> Element:
    """Return how many images each class has, how many are recognized, and as what the others are taken."""
    found = {label: answers.right_of(label) for label in answers.images}
    ordered = sorted(found, key=lambda label: (found[label] / answers.images[label], label))
    rows: list[list[Content]] = []
    for label in ordered:
        low, high = wilson(found[label], answers.images[label])
        rows.append(
            [
                label,
                f"{answers.images[label]:,}",
                in_percent(found[label] / answers.images[label]),
                f"{in_percent(low)} to {in_percent(high)}",
                tag("td", _others(answers, label), class_="text"),
            ]
        )
    exclusive = bundle.label_kind == "exclusive"
    head = ["label", "images", "recognized" if exclusive else "found (recall)", "95 % interval"]
    head.append("else most often taken for" if exclusive else "beside it most often")
    return table("Classes, the least often recognized first", head, rows)


def _others(answers: Answers, label: str) -> str:
    others = Counter({name: count for name, count in answers.taken_for[label].items() if name != label})
    return ", ".join(f"{name} ({count:,})" for name, count in others.most_common(2)) or "none"


def _balance(answers: Answers) -> str:
    sizes = list(answers.images.values())
    if max(sizes) == min(sizes):
        return f"Each of them has {plural(sizes[0], 'image')}." if len(sizes) > 1 else ""
    return f"The largest has {max(sizes) / min(sizes):.3g} times the images of the smallest."
