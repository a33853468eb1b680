"""Plot of `POST /diagnostics/explain`: each picture, and the map laid over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

import numpy as np

from service.diagnostics.drawing.colours import diverging, sequential
from service.diagnostics.drawing.json_answers import JsonAnswer, as_float, of_network
from service.diagnostics.drawing.svg import MARGIN, Drawing
from service.diagnostics.words import percent, sentence

SIDE: Final = 260.0
"""Longer side of a picture."""
GAP: Final = 16.0
TEXT: Final = MARGIN + 2 * SIDE + 2 * GAP
"""Left end of the words beside the two pictures."""
CHARACTERS: Final = 38
"""Of a line of them."""
LINE: Final = 17
KEY_STEPS: Final = 41
ENDS: Final = {
    "grad_cam": ("no evidence", "most evidence for {}"),
    "smooth_grad": ("not sensitive", "most sensitive"),
    "integrated_gradients": ("against {}", "for {}"),
    "input_x_gradient": ("against {}", "for {}"),
}
"""What the two ends of the colours mean, by method."""


@dataclass(frozen=True)
class Shown:
    """One image: data URLs of its picture without the map and with it, and how high they are for each pixel across."""

    picture: str
    overlaid: str
    ratio: float


def draw_explanations(answer: JsonAnswer, pictures: Sequence[Shown]) -> str:
    """Draw each picture, the map laid over it, what was seen, and what the colours mean."""
    sizes = [(SIDE / max(1.0, one.ratio), SIDE * min(1.0, one.ratio)) for one in pictures]
    words = [_words(sample) for sample in answer["samples"]]
    heights = [max(height + 58, 24 + LINE * len(lines)) for (_, height), lines in zip(sizes, words, strict=True)]
    where = answer["layer"] or "the picture itself"
    note = answer.get("steps_note")
    drawing = Drawing(
        _title(answer),
        f"{answer['method']}, at {where}. {answer['meaning']}"
        f"{f' {sentence(note)}' if note else ''}{of_network(answer)}",
        30 + sum(heights),
    )
    y = drawing.top + 24
    for sample, one, (width, height), lines, taken in zip(
        answer["samples"], pictures, sizes, words, heights, strict=True
    ):
        drawing.image(MARGIN, y, width, one.picture, "the picture", height)
        drawing.image(MARGIN + width + GAP, y, width, one.overlaid, str(sample["because"]), height)
        _key(drawing, MARGIN + width + GAP, y + height + 10, width, str(answer["method"]), str(sample["label"]))
        for number, line in enumerate(lines):
            drawing.text(TEXT, y + 13 + LINE * number, line, "" if number == 0 else "small")
        y += taken
    return drawing.svg()


def _title(answer: JsonAnswer) -> str:
    labels = dict.fromkeys(str(sample["label"]) for sample in answer["samples"])
    return f"What speaks for {', '.join(labels)} in {answer['model']}"


def _words(sample: Mapping[str, Any]) -> list[str]:
    lines = [f"{sample['label']}, {percent(as_float(sample['probability']))}"]
    lines += wrap(str(sample["because"]), CHARACTERS)
    if sample.get("completeness"):
        lines += ["", *wrap(str(sample["completeness"]["because"]), CHARACTERS)]
    return lines


def _key(drawing: Drawing, x: float, y: float, width: float, method: str, label: str) -> None:
    """Draw the colours from one end to the other, and what the ends mean."""
    low, high = (end.format(label) for end in ENDS[method])
    has_sign = method in ("integrated_gradients", "input_x_gradient")
    ramp = np.linspace(-1 if has_sign else 0, 1, KEY_STEPS)[None, :]
    step = width / KEY_STEPS
    for at, (red, green, blue) in enumerate((diverging if has_sign else sequential)(ramp)[0]):
        drawing.bar(x + at * step, y, step + 0.5, 8, "")
        drawing.root[-1].set("fill", f"rgb({red},{green},{blue})")
    drawing.text(x, y + 24, low, "muted small")
    drawing.text(x + width, y + 24, high, "muted small", "end")
