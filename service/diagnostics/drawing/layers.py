"""Plots over the layers of networks: the gradients of one model, and of several on the same images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from service.diagnostics.drawing.json_answers import (
    NO_FAMILIES,
    Families,
    JsonAnswer,
    as_float,
    of_network,
    title_of,
)
from service.diagnostics.drawing.svg import LEFT, RIGHT, Drawing, Linear, Logarithmic
from service.diagnostics.verdicts.profile import layers_at_an_end
from service.diagnostics.words import sentence, times

JUDGED: Final = "relative_gradient_norm"
"""Field of a layer on which verdicts are decided."""
JUDGED_LABEL: Final = "relative gradient (times the gradient at the logits)"
PANELS: Final = (
    (JUDGED, JUDGED_LABEL),
    ("activation_gradient_norm", "activation gradient ‖∂L/∂y‖₂ (loss per unit of activation)"),
)
"""Field of a layer → label of its panel."""
MOST_LAYER_NAMES: Final = 28
LONGEST_NAME: Final = 17
"""Characters of a name that fit between the axis and its title; the end of a longer name says more than its begin."""
DASHES: Final = ("", " dashed", " dotted")
"""Styles that tell models of one family apart."""


def draw_gradients(answer: JsonAnswer, families: Families = NO_FAMILIES) -> str:
    """Draw the norms of one model by layer: the relative ones, and those of the activations."""
    layers = answer["layers"]
    samples = len(answer["samples"])
    images = f"{samples} images and the median" if samples > 1 else f"one image ({_labels_of(answer['samples'][0])})"
    drawing = Drawing(
        title_of(answer),
        f"{sentence(answer['verdict']['because'])} Each layer's gradient of the loss for {images}."
        + of_network(answer),
        720,
    )
    style = families.get(str(answer["model"]), "imported")
    for row, (field, label) in enumerate(PANELS):
        curves = [[as_float(layer[field][sample]) for layer in layers] for sample in range(samples)]
        median = [statistics.median_low(column) for column in zip(*curves, strict=True)]
        _panel(
            drawing,
            drawing.top + 40 + 330 * row,
            200,
            label,
            [str(layer["name"]) for layer in layers],
            [(f"{style} sample", curve) for curve in (curves if samples > 1 else [])] + [(style, median)],
            dotted=style,
        )
    return drawing.svg()


def _labels_of(sample: JsonAnswer) -> str:
    if "label" in sample:
        return f"label {sample['label']}"
    return f"labels {', '.join(sample['labels'])}" if sample["labels"] else "none of the labels"


def draw_comparison(answer: JsonAnswer, families: Families = NO_FAMILIES) -> str:
    """Draw the relative gradients of several models on the same images, by depth and on one axis."""
    curves = []
    seen: dict[str, int] = {}
    for entry in answer["models"]:
        family = families.get(str(entry["model"]), "imported")
        style = family + DASHES[min(seen.get(family, 0), len(DASHES) - 1)]
        seen[family] = seen.get(family, 0) + 1
        norms = [statistics.median_low([as_float(value) for value in layer[JUDGED]]) for layer in entry["layers"]]
        curves.append((_versioned(entry), style, norms, [str(layer["name"]) for layer in entry["layers"]]))
    drawing = Drawing(
        _contrast([(name, norms) for name, _, norms, _ in curves]),
        f"{answer.get('because', '')} Shown: the relative gradient of each layer, the median over the images; "
        "gradients run from the loss, right, to the input, left."
        + "".join(f" {entry['model']}:{of_network(entry)}" for entry in answer["models"] if entry.get("quantized")),
        420,
    )
    top, bottom = drawing.top + 64, drawing.top + 350
    drawing.legend(LEFT, drawing.top + 22, [(style, name) for name, style, _, _ in curves])
    y = Logarithmic.around((value for _, _, norms, _ in curves for value in norms), bottom, top)
    drawing.vertical_axis(y, LEFT, RIGHT, JUDGED_LABEL)
    longest = max(len(norms) for _, _, norms, _ in curves)
    x = Linear(1, longest, LEFT + 8, RIGHT - 8)
    drawing.horizontal_axis(x, bottom, "layer, counted from the input")
    for name, style, norms, names in curves:
        points = [(x(1 + at), y(value)) if _drawable(value) else None for at, value in enumerate(norms)]
        drawing.curve(points, style)
        for point, layer, value in zip(points, names, norms, strict=True):
            if point is not None:
                drawing.dot(*point, f"{style.split()[0]}-dot", f"{name}, {layer}: {value:.3g}")
    return drawing.svg()


def _panel(
    drawing: Drawing,
    top: float,
    height: float,
    label: str,
    names: Sequence[str],
    curves: Sequence[tuple[str, Sequence[float]]],
    dotted: str,
) -> None:
    """Draw one logarithmic panel over all layers; the last curve gets the dots, and what it lacks is counted."""
    bottom = top + height
    y = Logarithmic.around((value for _, curve in curves for value in curve), bottom, top)
    x = Linear(0, max(1, len(names) - 1), LEFT + 12, RIGHT - 12)
    drawing.vertical_axis(y, LEFT, RIGHT, label)
    drawing.line(LEFT, bottom, RIGHT, bottom, "axis")
    for style, curve in curves:
        drawing.curve([(x(at), y(value)) if _drawable(value) else None for at, value in enumerate(curve)], style)
    every = max(1, math.ceil(len(names) / MOST_LAYER_NAMES))
    for at, (name, value) in enumerate(zip(names, curves[-1][1], strict=True)):
        if _drawable(value):
            drawing.dot(x(at), y(value), f"{dotted}-dot", f"{name}: {value:.4g}")
        if at % every == 0 or at == len(names) - 1:
            shown = name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
            drawing.text(x(at) + 4, bottom + 14, shown, "muted small", "end", turn=-40)
    drawing.text(
        (LEFT + RIGHT) / 2, bottom + 92, "layer, from the input (left) to the loss (right)", "muted small", "middle"
    )
    missing = sum(not _drawable(value) for value in curves[-1][1])
    if missing:
        drawing.text(RIGHT, top - 12, f"{missing} of {len(names)} layers are 0 or not finite", "small", "end")


def _contrast(curves: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return the title of a comparison: how much each model's gradient changes from its last layers to its first.

    As in a verdict, the median of some layers stands for each end.
    """
    parts = []
    for name, norms in curves:
        ends = [value for value in norms if _drawable(value)]
        if len(ends) < 2:
            parts.append(f"{name} has no gradient")
            continue
        some = layers_at_an_end(len(ends))
        ratio = statistics.median(ends[:some]) / statistics.median(ends[-some:])
        parts.append(f"{name} {'grows' if ratio >= 1 else 'shrinks'} {times(max(ratio, 1 / ratio))}")
    return "From the last layers to the first, the relative gradient of " + ", of ".join(parts)


def _drawable(value: float) -> bool:
    """Return whether a value has a place on a logarithmic axis."""
    return math.isfinite(value) and value > 0


def _versioned(entry: JsonAnswer) -> str:
    return f"{entry['model']}@{entry['version']}" if str(entry.get("version", "1")) != "1" else str(entry["model"])
