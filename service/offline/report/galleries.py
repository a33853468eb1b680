"""Pictures that are worth a look: suspected labels, the hardest images, and those least like the training images."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from PIL import Image

from service.contract.bundle_schema import Bundle, InputSpec
from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.diagnostics.versions.intervals import wilson
from service.diagnostics.words import plural
from service.images.errors import ImageError
from service.images.preprocess import decode_whole
from service.offline.report.markup import Content, folded, in_percent, number, section, tag
from service.offline.report.tally import Tally, parsed
from service.offline.table import SERVED, Row

THUMBNAIL: Final = 112
"""Pixels along the longer side, at most."""
UNFOLDED: Final = 24
"""Pictures that a gallery shows before the rest is folded."""

HARDEST_LABELLED: Final = (
    "Their gradient over all layers is the largest, so a training step on them would change the network most (GraNd). "
    "Look for wrong labels, bad pictures, and kinds that the training images lack."
)
HARDEST_UNLABELLED: Final = (
    "Their gradient over all layers is the largest (GraNd), for the label that is predicted: the network is least "
    "certain of these images. Look for bad pictures, and for kinds that the training images lack."
)

GUESSES: Final = (
    " This network is not clearly better than always answering the most frequent label, so that they say more about it "
    "than about the labels."
)


def guesses(tally: Tally) -> bool:
    """Tell whether the share of right answers may be no higher than that of the most frequent label."""
    answers = tally.network
    if not answers.labelled or tally.bundle.label_kind == "independent":
        return False
    return wilson(answers.right, answers.labelled)[0] <= max(answers.images.values()) / answers.labelled


def gallery_sections(tally: Tally, folder: Path) -> list[Element | None]:
    """Return the three galleries; None for one that has nothing to show."""
    bundle = tally.bundle
    wrong = tally.network.labelled - tally.network.right
    found = "predicts another label" if bundle.label_kind == "exclusive" else "does not predict it"
    return [
        gallery(
            "suspects",
            "Suspected label errors",
            f"Of {plural(wrong, 'image')} for which the network {found}, those whose own label it finds least "
            "probable come first. Either the label is wrong, or the network is: look at them before you trust either."
            + (GUESSES if guesses(tally) else ""),
            tally.suspects.rows,
            folder,
            bundle,
        ),
        gallery(
            "hardest",
            "Hardest images",
            HARDEST_LABELLED if tally.network.labelled else HARDEST_UNLABELLED,
            tally.hardest.rows,
            folder,
            bundle,
        ),
        gallery(
            "foreign",
            "Least like the training images",
            "Their gradients are spread over the layers as those of the training images seldom are (the distance of "
            "the layers' norms). Look for pictures that do not belong to this folder.",
            tally.foreign.rows,
            folder,
            bundle,
        ),
    ]


def gallery(
    identity: str, title: str, explanation: str, chosen: list[Row], folder: Path, bundle: Bundle
) -> Element | None:
    if not chosen:
        return None
    pictures = [picture(row, folder, bundle) for row in chosen]
    rest = pictures[UNFOLDED:]
    return section(
        identity,
        title,
        tag("p", explanation),
        tag("ul", *pictures[:UNFOLDED], class_="gallery"),
        folded(f"{len(rest)} more", tag("ul", *rest, class_="gallery")) if rest else None,
    )


def picture(row: Row, folder: Path, bundle: Bundle) -> Element:
    """Return one picture with its path, its label, what is predicted, and the loss."""
    shown = thumbnail(folder / row["path"], bundle.input)
    image = (
        tag("img", alt=f"picture {row['path']}", src=shown[0], class_="tiny" if shown[1] else None, loading="lazy")
        if shown
        else tag("span", "This picture cannot be read any more.", class_="missing")
    )
    lines: list[Content] = [tag("b", row["path"])]
    lines += [tag("span", line) for line in said_of(row, bundle)]
    return tag("li", image, *lines)


def said_of(row: Row, bundle: Bundle) -> list[str]:
    names = row["predicted"].replace(LABELS_BETWEEN, ", ") or "no label"
    sure = f" ({in_percent(parsed(row['max_probability']))})" if bundle.label_kind == "exclusive" else ""
    lines = [f"predicted {names}{sure}", f"loss {number(parsed(row['loss']))} nats"]
    if row["label"]:
        own = f" ({in_percent(parsed(row['probability']))})" if row["probability"] else ""
        lines.insert(0, f"labelled {row['label']}{own}")
    if row.get(SERVED, row["predicted"]) != row["predicted"]:
        lines.append(f"/predict answers {row[SERVED].replace(LABELS_BETWEEN, ', ') or 'no label'}")
    return lines


def thumbnail(path: Path, spec: InputSpec) -> tuple[str, bool] | None:
    """Return a data URL of the picture, uncropped, and whether it is shown in its own size because it is tiny.

    None if the file is gone or broken.
    """
    try:
        pixels = decode_whole(path.read_bytes(), spec)
    except (OSError, ImageError):  # the row says what was wrong
        return None
    small = Image.fromarray(pixels if spec.channels == 3 else pixels[..., 0])
    tiny = max(small.size) <= THUMBNAIL // 2
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), tiny
