"""Pictures with a map laid over them: as PNG, and within the SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from service.contract.arrays import Float64, Pixels
from service.contract.bundle_schema import InputSpec
from service.diagnostics.drawing.colours import diverging, sequential
from service.diagnostics.drawing.explanation import Shown, draw_explanations
from service.diagnostics.explanation.maps import interpolated
from service.diagnostics.schemas.explanation import Explanations
from service.images.geometry import Side, plan
from service.images.limits import MAX_PIXELS
from service.images.preprocess import decode_whole

LONGEST: Final = 1024
"""Most pixels of a picture's longer side; a larger picture is shrunk."""
SHORTEST: Final = 320
"""Pixels of the longer side up to which a small picture is enlarged, by a whole number."""
DIMMED: Final = 0.35
"""Brightness of what the network did not see."""
LEAST_COVER, MOST_COVER = 0.25, 0.75
"""Share of the colour where a map is 0, and where it is largest; the rest is the picture, in grey."""
LUMA: Final = (0.299, 0.587, 0.114)
"""What red, green and blue count in grey (ITU-R BT.601)."""


@dataclass(frozen=True)
class Whole:
    """A whole picture, uint8 [h, w, 3], and which part of its own rows and columns the network saw."""

    pixels: Pixels
    rows: Side
    columns: Side


def whole_picture(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Whole:
    """Decode the picture in `data`, upright and in the colours that the network gets, at a size to be looked at.

    Raises:
        ImageError: it cannot be decoded.
    """
    pixels = decode_whole(data, spec, max_pixels)
    height, width = pixels.shape[:2]
    rows, columns = plan((height, width), spec)
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2))
    longest = max(height, width)
    if longest > LONGEST:
        size = max(1, round(width * LONGEST / longest)), max(1, round(height * LONGEST / longest))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    elif (factor := SHORTEST // longest) > 1:
        image = image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    return Whole(np.asarray(image), rows, columns)


def overlaid(found: Explanations, row: int, whole: Whole, spec: InputSpec) -> Pixels:
    """Lay the map of one image over its picture, uint8 [h, w, 3]; what the network did not see is dimmed."""
    values = np.array(found.samples[row].map.values, np.float64)
    has_sign = bool((values < 0).any()) or found.method in ("integrated_gradients", "input_x_gradient")
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    scaled = values / largest if largest > 0 else np.zeros_like(values)
    grey = np.repeat((whole.pixels @ np.array(LUMA))[..., None], 3, axis=2)
    result = DIMMED * grey
    height, width = whole.pixels.shape[:2]
    seen_rows, at_rows = _seen(whole.rows, height, spec.height)
    seen_columns, at_columns = _seen(whole.columns, width, spec.width)
    part = interpolated(scaled, at_rows, at_columns)
    colours = (diverging if has_sign else sequential)(part).astype(np.float64)
    cover = (LEAST_COVER + (MOST_COVER - LEAST_COVER) * np.abs(np.nan_to_num(part)))[..., None]
    result[seen_rows, seen_columns] = (1 - cover) * grey[seen_rows, seen_columns] + cover * colours
    rounded: Pixels = np.round(result).astype(np.uint8)
    return rounded


def as_png(found: Explanations, row: int, whole: Whole, spec: InputSpec) -> bytes:
    """Return the picture of one image with its map as a PNG file, which says in text chunks what it shows."""
    sample = found.samples[row]
    said = PngInfo()
    said.add_itxt("Title", f"What speaks for {sample.label} in {found.model}@{found.version}")
    said.add_itxt("Description", f"{sample.because} {found.method}: {found.meaning}")
    said.add_itxt("Software", "Contraflow")
    return _png(overlaid(found, row, whole, spec), said)


def as_svg(found: Explanations, wholes: Sequence[Whole], spec: InputSpec) -> str:
    """Return the pictures of all images with their maps, a legend and what was seen, as an SVG document."""
    shown = [
        Shown(
            _data_url(whole.pixels),
            _data_url(overlaid(found, row, whole, spec)),
            whole.pixels.shape[0] / whole.pixels.shape[1],
        )
        for row, whole in enumerate(wholes)
    ]
    return draw_explanations(found.model_dump(mode="json"), shown)


def _seen(side: Side, pixels: int, network: int) -> tuple[slice, Float64]:
    """Return which of the picture's rows (or columns) the network saw, and where those lie in its input, 0 to 1."""
    start = round(pixels * side.first / side.resized)
    stop = max(start + 1, round(pixels * (side.first + side.count) / side.resized))
    within = (np.arange(stop - start) + 0.5) / (stop - start)
    return slice(start, stop), (side.before + within * side.count) / network


def _png(pixels: Pixels, said: PngInfo | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()


def _data_url(pixels: Pixels) -> str:
    return "data:image/png;base64," + base64.b64encode(_png(pixels)).decode("ascii")
