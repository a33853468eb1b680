"""Plot of `POST /diagnostics/scores`: one strip per score, with a dot for each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from service.diagnostics.drawing.json_answers import JsonAnswer, as_float, of_network
from service.diagnostics.drawing.svg import MARGIN, RIGHT, Drawing, Linear

STRIP_LABELS: Final = {
    "max_probability": "largest probability",
    "margin": "margin between the best two",
    "energy": "energy",
    "gradnorm": "GradNorm",
    "layer_norm_distance": "distance of the layer norms",
    "el2n": "EL2N",
    "grand": "GraNd",
}
"""Score → what its strip is called."""
STRIP: Final = 62
TOUCHING: Final = 16.0
"""Distance below which the names of two dots would touch."""
MOST_JOINED_NAMES: Final = 4


def draw_scores(answer: JsonAnswer) -> str:
    """Draw one strip per score, with one numbered dot per image."""
    samples = answer["samples"]
    present = {score: [sample.get(score) for sample in samples] for score in STRIP_LABELS}
    strips = {score: values for score, values in present.items() if any(value is not None for value in values)}
    drawing = Drawing(
        _least_certain(samples),
        f"{answer['model']}: {len(strips)} scores of each image."
        + (" Images are numbered in the order sent." if len(samples) > 1 else "")
        + of_network(answer),
        STRIP * len(strips) + 20,
    )
    for row, (score, values) in enumerate(strips.items()):
        middle = drawing.top + 40 + STRIP * row
        finite = [as_float(value) for value in values if value is not None and math.isfinite(as_float(value))]
        low, high = (0.0, 1.0) if score == "max_probability" else _padded(finite)
        x = Linear(low, high, MARGIN + 216, RIGHT - 12)
        drawing.text(MARGIN, middle + 4, STRIP_LABELS[score])
        drawing.horizontal_axis(x, middle, "")
        placed = []
        for at, value in enumerate(values, 1):
            if value is not None and math.isfinite(as_float(value)):
                position = x(as_float(value))
                drawing.dot(position, middle, "residual-dot", f"image {at}: {as_float(value):.4g}", 6)
                placed.append((position, f"{as_float(value):.3g}" if len(samples) == 1 else str(at)))
        for position, name in joined_names(placed):
            drawing.text(min(position, RIGHT - 3.2 * len(name)), middle - 11, name, "small", "middle")
    return drawing.svg()


def joined_names(placed: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Join the names of dots that are close together, at their middle: "2, 4, 5", or "2, 4, 5, 6 and 3 more"."""
    groups: list[list[tuple[float, str]]] = []
    for one in sorted(placed):
        if groups and one[0] - groups[-1][-1][0] < TOUCHING:
            groups[-1].append(one)
        else:
            groups.append([one])
    found = []
    for group in groups:
        names = sorted((name for _, name in group), key=lambda name: (len(name), name))
        more = f" and {len(names) - MOST_JOINED_NAMES} more" if len(names) > MOST_JOINED_NAMES else ""
        found.append((sum(at for at, _ in group) / len(group), ", ".join(names[:MOST_JOINED_NAMES]) + more))
    return found


def _least_certain(samples: Sequence[Mapping[str, Any]]) -> str:
    certain = [as_float(sample["max_probability"]) for sample in samples]
    if len(certain) == 1:
        return f"The image is classified with probability {certain[0]:.3g}"
    lowest = int(np.nanargmin(certain))
    return f"Image {lowest + 1} of {len(samples)} is the least certain, with probability {certain[lowest]:.3g}"


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that leaves some room around `values`."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - pad, high + pad
