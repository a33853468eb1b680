"""Plot of `POST /diagnostics/features`: what the layers see in an image."""

from __future__ import annotations

from typing import Final

from service.diagnostics.drawing.json_answers import JsonAnswer, as_float, classified_as, of_network
from service.diagnostics.drawing.svg import MARGIN, RIGHT, Drawing

DRAWN_LAYERS: Final = 8
DRAWN_CHANNELS: Final = 6
ROW: Final = 82


def draw_features(answer: JsonAnswer) -> str:
    """Draw the strongest channels of up to eight layers, spread over the depth, for the first image."""
    seen = answer["samples"][0]
    layers = [layer for layer in seen["layers"] if layer["channels"] and layer["height"] * layer["width"] > 1]
    last = DRAWN_LAYERS - 1
    chosen = sorted({round(at * (len(layers) - 1) / last) for at in range(DRAWN_LAYERS)}) if layers else []
    drawing = Drawing(
        f"How {answer['model']} comes to see: {classified_as(seen)}",
        "The strongest channels of layers from the input, top, to the loss, bottom: brighter where they respond. "
        "At the right, the pixels that move the loss."
        + (f" {answer['separability']['because']}" if answer.get("separability") else "")
        + of_network(answer),
        30 + ROW * max(3, len(chosen)),
    )
    for row, layer in enumerate(layers[at] for at in chosen):
        top = drawing.top + 24 + ROW * row
        drawing.text(MARGIN, top + 28, str(layer["name"]))
        drawing.text(MARGIN, top + 46, f"{layer['height']} × {layer['width']}", "muted small")
        if layer.get("separability") is not None:
            drawing.text(MARGIN, top + 62, f"separates {as_float(layer['separability']):.0%}", "muted small")
        for column, channel in enumerate(layer["channels"][:DRAWN_CHANNELS]):
            label = f"channel {channel['channel']}, largest value {as_float(channel['peak']):.3g}"
            drawing.image(MARGIN + 130 + 78 * column, top, 70, channel["picture"], label)
    if seen.get("saliency"):
        drawing.image(RIGHT - 200, drawing.top + 24, 200, seen["saliency"]["picture"], "saliency")
    return drawing.svg()
