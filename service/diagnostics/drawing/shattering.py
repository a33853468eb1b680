"""Plot of `POST /diagnostics/shattering`: how the input gradient changes along the path."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from service.diagnostics.drawing.colours import diverging
from service.diagnostics.drawing.json_answers import (
    NO_FAMILIES,
    Families,
    JsonAnswer,
    as_float,
    of_network,
    title_of,
)
from service.diagnostics.drawing.svg import LEFT, RIGHT, Drawing, Linear
from service.diagnostics.words import sentence

KEY_STEPS: Final = 41


def draw_shattering(answer: JsonAnswer, families: Families = NO_FAMILIES) -> str:
    """Draw the correlation between the input gradients along the path, and their autocorrelation by lag.

    The autocorrelation stands beside those of white and brown noise.
    """
    correlation = np.array([[as_float(value) for value in row] for row in answer["correlation"]])
    exponent = as_float(answer["spectral_exponent"])
    note = answer.get("points_note")
    drawing = Drawing(
        title_of(answer),
        f"{sentence(answer['verdict']['because'])} Input gradients at {len(correlation)} points on the straight path "
        f"between two images. Spectral exponent {exponent:.2f} (white noise 0, brown noise 2)."
        f"{f' {sentence(note)}' if note else ''}{of_network(answer)}",
        430,
    )
    side, top = 300.0, drawing.top + 58
    drawing.text(LEFT, top - 12, "correlation between gradients, −1 … 1", "small")
    drawing.picture(LEFT, top, side, diverging(correlation), "correlation matrix")
    drawing.text(LEFT, top + side + 18, "first image", "muted small")
    drawing.text(LEFT + side, top + side + 18, "second image", "muted small", "end")
    _colour_key(drawing, LEFT, top + side + 34, side)
    style = families.get(str(answer["model"]), "imported")
    _autocorrelation(drawing, answer, style, LEFT + side + 92, top, top + side)
    return drawing.svg()


def _autocorrelation(drawing: Drawing, answer: JsonAnswer, style: str, left: float, top: float, bottom: float) -> None:
    curve = answer["autocorrelation"]
    lags = [float(lag) for lag in curve["lags"]]
    series = [("mean", style, str(answer["model"]))]
    series += [("white", "reference dotted", "white noise"), ("brown", "reference dashed", "brown noise")]
    values = {field: [as_float(value) for value in curve[field]] for field, _, _ in series}
    lowest = min((v for row in values.values() for v in row if math.isfinite(v)), default=0.0)
    y = Linear(min(0.0, math.floor(lowest * 5) / 5), 1.0, bottom, top)
    x = Linear(min(lags), max(lags), left, RIGHT - 4)
    drawing.vertical_axis(y, left, RIGHT, "autocorrelation of the gradient")
    drawing.horizontal_axis(x, bottom, "lag (points along the path)")
    for field, line, _ in series:
        points = zip(lags, values[field], strict=True)
        drawing.curve([(x(lag), y(value)) if math.isfinite(value) else None for lag, value in points], line)
    drawing.legend(left, bottom + 62, [(line, name) for _, line, name in series])


def _colour_key(drawing: Drawing, x: float, y: float, width: float) -> None:
    ramp = diverging(np.linspace(-1, 1, KEY_STEPS)[None, :])
    step = (width - 80) / KEY_STEPS
    for at, (red, green, blue) in enumerate(ramp[0]):
        drawing.bar(x + 40 + at * step, y, step + 0.5, 8, "")
        drawing.root[-1].set("fill", f"rgb({red},{green},{blue})")
    drawing.text(x + 32, y + 9, "−1", "muted small", "end")
    drawing.text(x + width - 32, y + 9, "1", "muted small")
