"""What the diagnostics look like: one function per answer, from its JSON form to an SVG document.

Every plot can be read alone: the title is the finding, the subtitle says what is drawn, axes carry units, residual
is blue and plain is vermilion (Okabe and Ito's palette), and both light and dark are in the one file. A value that
is not finite, or is 0 on a logarithmic axis, leaves a gap in its curve and is counted under the plot.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.diagnostics import schemas
from service.diagnostics.drawing.svg import MARGIN, WIDTH, Drawing, Linear, Logarithmic, power_of_ten

Answer = Mapping[str, Any]
"""The body of a JSON answer; numbers may be the strings "NaN", "Infinity" and "-Infinity"."""

Families = Mapping[str, str]
"""Model name → "residual", "plain" or "imported" (the default): its colour."""
NO_FAMILIES: Final[Families] = MappingProxyType({})

LEFT: Final = MARGIN + 44
RIGHT: Final = WIDTH - MARGIN
CLOSE: Final = 16.0
"""Distance below which the names of two dots would touch."""
MOST_NAMES: Final = 4
DASHES: Final = ("", " dashed", " dotted")

FINDINGS: Final = {
    "healthy": "{} is healthy",
    "vanishing": "The gradients of {} vanish",
    "exploding": "The gradients of {} explode",
    "dead": "{} has dead layers",
    "imbalanced": "The layers of {} are imbalanced",
    "shattered": "The gradients of {} shatter",
    "rough": "The gradients of {} are rough, not shattered",
    "smooth": "The gradients of {} change smoothly",
}

SCORES: Final = {
    "max_probability": "largest probability",
    "margin": "margin between the best two",
    "energy": "energy",
    "gradnorm": "GradNorm",
    "layer_norm_distance": "distance of the layer norms",
    "feature_distance": "distance of the features",
    "el2n": "EL2N",
    "grand": "GraNd",
}


def plot(answer: schemas.Answer, families: Families = NO_FAMILIES) -> str:
    """The plot of a diagnosis; `families` colours its models."""
    body = answer.model_dump(mode="json")
    match answer:
        case schemas.Gradients():
            return gradients(body, families)
        case schemas.Comparison():
            return compare(body, families)
        case schemas.Shattering():
            return shattering(body, families)
        case schemas.Scores():
            return scores(body)
        case schemas.Features():
            return features(body)
        case _:
            raise TypeError(f"there is no plot of {type(answer).__name__}")


def gradients(answer: Answer, families: Families = NO_FAMILIES) -> str:
    """Norms by layer of one model: of the activation gradients, and of the scaled weight gradients."""
    layers, verdict = answer["layers"], answer["verdict"]
    samples = len(answer["samples"])
    drawing = Drawing(
        _finding(str(answer["model"]), str(verdict["state"])),
        f"{_sentence(verdict['because'])} Each layer's gradient of the loss for "
        + (
            f"one image (label {answer['samples'][0]['label']})."
            if samples == 1
            else f"{samples} images and the median."
        ),
        720,
    )
    style = families.get(str(answer["model"]), "imported")
    quantities = (
        ("activation_gradient_norm", "activation gradient ‖∂L/∂y‖₂ (loss per unit of activation)"),
        ("scaled_gradient_norm", "scaled weight gradient √Σ(‖W_c‖·‖∂L/∂W_c‖)² (loss)"),
    )
    for row, (field, label) in enumerate(quantities):
        curves = [[number(layer[field][sample]) for layer in layers] for sample in range(samples)]
        median = [statistics.median_low(column) for column in zip(*curves, strict=True)]
        _layer_panel(
            drawing,
            drawing.top + 40 + 330 * row,
            200,
            label,
            [str(layer["name"]) for layer in layers],
            [(f"{style} sample", curve) for curve in (curves if samples > 1 else [])] + [(style, median)],
            dotted=style,
        )
    return drawing.svg()


def compare(answer: Answer, families: Families = NO_FAMILIES) -> str:
    """The activation-gradient norm by depth of several models on the same images, on one axis."""
    curves = []
    seen: dict[str, int] = {}
    for entry in answer["models"]:
        family = families.get(str(entry["model"]), "imported")
        style = family + DASHES[min(seen.get(family, 0), len(DASHES) - 1)]
        seen[family] = seen.get(family, 0) + 1
        norms = [
            statistics.median_low([number(v) for v in layer["activation_gradient_norm"]]) for layer in entry["layers"]
        ]
        curves.append((_versioned(entry), style, norms, [str(layer["name"]) for layer in entry["layers"]]))
    drawing = Drawing(
        _contrast([(name, norms) for name, _, norms, _ in curves]),
        f"{answer.get('because', '')} Shown: the median norm of the activation gradient in each layer; "
        "gradients run from the loss, right, to the input, left.",
        420,
    )
    top, bottom = drawing.top + 64, drawing.top + 350
    drawing.legend(LEFT, drawing.top + 22, [(style, name) for name, style, _, _ in curves])
    y = Logarithmic.around((value for _, _, norms, _ in curves for value in norms), bottom, top)
    drawing.vertical_axis(y, LEFT, RIGHT, "‖∂L/∂y‖₂ (loss per unit of activation)")
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


def shattering(answer: Answer, families: Families = NO_FAMILIES) -> str:
    """Correlation between input gradients along the path, and autocorrelation by lag beside its two references."""
    correlation = np.array([[number(value) for value in row] for row in answer["correlation"]])
    curve = answer["autocorrelation"]
    exponent = number(answer["spectral_exponent"])
    verdict = answer["verdict"]
    drawing = Drawing(
        _finding(str(answer["model"]), str(verdict["state"])),
        f"{_sentence(verdict['because'])} Input gradients at {len(correlation)} points on the straight path between "
        f"two images. Spectral exponent {exponent:.2f} (white noise 0, brown noise 2).",
        430,
    )
    side, top = 300.0, drawing.top + 58
    drawing.text(LEFT, top - 12, "correlation between gradients, −1 … 1", "small")
    drawing.picture(LEFT, top, side, diverging(correlation), "correlation matrix")
    drawing.text(LEFT, top + side + 18, "first image", "muted small")
    drawing.text(LEFT + side, top + side + 18, "second image", "muted small", "end")
    _colour_key(drawing, LEFT, top + side + 34, side)

    left = LEFT + side + 92
    lags = [float(lag) for lag in curve["lags"]]
    series = [("mean", families.get(str(answer["model"]), "imported"), str(answer["model"]))]
    series += [("white", "reference dotted", "white noise"), ("brown", "reference dashed", "brown noise")]
    values = {field: [number(value) for value in curve[field]] for field, _, _ in series}
    lowest = min((v for row in values.values() for v in row if math.isfinite(v)), default=0.0)
    y = Linear(min(0.0, math.floor(lowest * 5) / 5), 1.0, top + side, top)
    x = Linear(min(lags), max(lags), left, RIGHT - 4)
    drawing.vertical_axis(y, left, RIGHT, "autocorrelation of the gradient")
    drawing.horizontal_axis(x, top + side, "lag (points along the path)")
    for field, style, _ in series:
        points = zip(lags, values[field], strict=True)
        drawing.curve([(x(lag), y(value)) if math.isfinite(value) else None for lag, value in points], style)
    drawing.legend(left, top + side + 62, [(style, name) for _, style, name in series])
    return drawing.svg()


def scores(answer: Answer) -> str:
    """One strip per score, one numbered dot per image."""
    samples = answer["samples"]
    present = {field: [sample.get(field) for sample in samples] for field in SCORES}
    strips = {field: values for field, values in present.items() if any(value is not None for value in values)}
    drawing = Drawing(
        _least_certain(samples),
        f"{answer['model']}: {len(strips)} scores of each image."
        + (" Images are numbered in the order sent." if len(samples) > 1 else ""),
        62 * len(strips) + 20,
    )
    for row, (field, values) in enumerate(strips.items()):
        middle = drawing.top + 40 + 62 * row
        finite = [number(value) for value in values if value is not None and math.isfinite(number(value))]
        low, high = (0.0, 1.0) if field == "max_probability" else _padded(finite)
        x = Linear(low, high, MARGIN + 216, RIGHT - 12)
        drawing.text(MARGIN, middle + 4, SCORES[field])
        drawing.horizontal_axis(x, middle, "")
        placed = []
        for at, value in enumerate(values, 1):
            if value is not None and math.isfinite(number(value)):
                position = x(number(value))
                drawing.dot(position, middle, "residual-dot", f"image {at}: {number(value):.4g}", 6)
                placed.append((position, f"{number(value):.3g}" if len(samples) == 1 else str(at)))
        for position, name in _together(placed):
            drawing.text(min(position, RIGHT - 3.2 * len(name)), middle - 11, name, "small", "middle")
    return drawing.svg()


def _together(placed: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Names of dots that lie close together as one, at their middle: "2, 4, 5", or "2, 4, 5 and 3 more"."""
    groups: list[list[tuple[float, str]]] = []
    for one in sorted(placed):
        if groups and one[0] - groups[-1][-1][0] < CLOSE:
            groups[-1].append(one)
        else:
            groups.append([one])
    found = []
    for group in groups:
        names = sorted((name for _, name in group), key=lambda name: (len(name), name))
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        found.append((sum(at for at, _ in group) / len(group), ", ".join(names[:MOST_NAMES]) + more))
    return found


def features(answer: Answer) -> str:
    """The strongest channels of up to eight layers, spread over the depth, for the first image."""
    seen = answer["samples"][0]
    layers = [layer for layer in seen["layers"] if layer["channels"] and layer["height"] * layer["width"] > 1]
    chosen = sorted({round(at * (len(layers) - 1) / 7) for at in range(8)}) if layers else []
    drawing = Drawing(
        f"How {answer['model']} comes to see: {seen['predicted_label']}",
        "The strongest channels of layers from the input, top, to the loss, bottom: brighter where they respond. "
        "At the right, the pixels that move the loss."
        + (f" {answer['separability']['because']}" if answer.get("separability") else ""),
        30 + 82 * max(3, len(chosen)),
    )
    for row, layer in enumerate(layers[at] for at in chosen):
        top = drawing.top + 24 + 82 * row
        drawing.text(MARGIN, top + 28, str(layer["name"]))
        drawing.text(MARGIN, top + 46, f"{layer['height']} × {layer['width']}", "muted small")
        if layer.get("separability") is not None:
            drawing.text(MARGIN, top + 62, f"separates {number(layer['separability']):.0%}", "muted small")
        for column, channel in enumerate(layer["channels"][:6]):
            label = f"channel {channel['channel']}, largest value {number(channel['peak']):.3g}"
            drawing.image(MARGIN + 130 + 78 * column, top, 70, channel["picture"], label)
    if seen.get("saliency"):
        drawing.image(RIGHT - 200, drawing.top + 24, 200, seen["saliency"]["picture"], "saliency")
    return drawing.svg()


def number(value: float | str | None) -> float:
    """A number of an answer, the three non-finite strings included; None is not a number."""
    return math.nan if value is None else float(value)


def times(ratio: float) -> str:
    """A ratio of 1 or more in words: `8.9-fold`, `20,000-fold`, `10⁸-fold`."""
    if ratio >= 1e6:
        return f"{power_of_ten(round(math.log10(ratio)))}-fold"
    return f"{float(f'{ratio:.2g}'):,g}-fold" if ratio < 10 else f"{round(ratio, 1 - int(math.log10(ratio))):,.0f}-fold"


def diverging(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Colours, uint8 [rows, columns, 3], for values in −1 … 1: vermilion below 0, white at 0, blue above, NaN grey."""
    ends = np.array([[213, 94, 0], [255, 255, 255], [0, 114, 178]], dtype=np.float64)
    strength = np.clip(np.nan_to_num(values), -1, 1)[..., None]
    colours = ends[1] + np.abs(strength) * (np.where(strength < 0, ends[0], ends[2]) - ends[1])
    colours[~np.isfinite(values)] = 128
    rounded: npt.NDArray[np.uint8] = np.round(colours).astype(np.uint8)
    return rounded


def _layer_panel(
    drawing: Drawing,
    top: float,
    height: float,
    label: str,
    names: Sequence[str],
    curves: Sequence[tuple[str, Sequence[float]]],
    dotted: str,
) -> None:
    """One logarithmic panel over all layers; the last curve gets the dots."""
    bottom = top + height
    y = Logarithmic.around((value for _, curve in curves for value in curve), bottom, top)
    x = Linear(0, max(1, len(names) - 1), LEFT + 12, RIGHT - 12)
    drawing.vertical_axis(y, LEFT, RIGHT, label)
    drawing.line(LEFT, bottom, RIGHT, bottom, "axis")
    for style, curve in curves:
        drawing.curve([(x(at), y(value)) if _drawable(value) else None for at, value in enumerate(curve)], style)
    every = max(1, math.ceil(len(names) / 28))
    for at, (name, value) in enumerate(zip(names, curves[-1][1], strict=True)):
        if _drawable(value):
            drawing.dot(x(at), y(value), f"{dotted}-dot", f"{name}: {value:.4g}")
        if at % every == 0 or at == len(names) - 1:
            drawing.text(x(at) + 4, bottom + 14, name, "muted small", "end", turn=-40)
    drawing.text(
        (LEFT + RIGHT) / 2, bottom + 92, "layer, from the input (left) to the loss (right)", "muted small", "middle"
    )
    missing = sum(not _drawable(value) for value in curves[-1][1])
    if missing:
        drawing.text(RIGHT, top - 12, f"{missing} of {len(names)} layers are 0 or not finite", "small", "end")


def _colour_key(drawing: Drawing, x: float, y: float, width: float) -> None:
    ramp = diverging(np.linspace(-1, 1, 41)[None, :])
    step = (width - 80) / 41
    for at, (red, green, blue) in enumerate(ramp[0]):
        drawing.bar(x + 40 + at * step, y, step + 0.5, 8, "")
        drawing.root[-1].set("fill", f"rgb({red},{green},{blue})")
    drawing.text(x + 32, y + 9, "−1", "muted small", "end")
    drawing.text(x + width - 32, y + 9, "1", "muted small")


def _finding(model: str, state: str) -> str:
    return FINDINGS.get(state, "{}: " + state).format(model)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")


def _contrast(curves: Sequence[tuple[str, Sequence[float]]]) -> str:
    """The finding of a comparison: how much each model's gradient changes between its last and first layer."""
    parts = []
    for name, norms in curves:
        ends = [value for value in norms if _drawable(value)]
        if len(ends) < 2:
            parts.append(f"{name} has no gradient")
            continue
        ratio = ends[0] / ends[-1]
        parts.append(f"{name} {'grows' if ratio >= 1 else 'shrinks'} {times(max(ratio, 1 / ratio))}")
    return "From the last layer to the first, the gradient of " + ", of ".join(parts)


def _least_certain(samples: Sequence[Mapping[str, Any]]) -> str:
    certain = [number(sample["max_probability"]) for sample in samples]
    if len(certain) == 1:
        return f"The image is classified with probability {certain[0]:.3g}"
    lowest = int(np.nanargmin(certain))
    return f"Image {lowest + 1} of {len(samples)} is the least certain, with probability {certain[lowest]:.3g}"


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return low - pad, high + pad


def _drawable(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _versioned(entry: Answer) -> str:
    return f"{entry['model']}@{entry['version']}" if str(entry.get("version", "1")) != "1" else str(entry["model"])
