"""Pictures made for a check, where nobody names any: at the model's own size, with the statistics of photographs.

A picture is of dead leaves (Lee, Mumford & Huang 2001): shapes of all sizes, by the law r⁻³, lie over one another, so
that it has edges, flat parts and objects at every scale. Each leaf has a colour and a texture of noise whose amplitude
falls with the frequency as in photographs (Field 1987); colours, light and contrast vary from picture to picture.
Networks that are trained on such pictures learn features that serve for photographs (Baradad et al. 2021).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from service.contract.arrays import Float64, Pixels
from service.contract.bundle_schema import InputSpec

SEED: Final = 27
FIELDS: Final = 12
"""Fields of noise that all pictures of a set share, each moved and turned its own way."""
SLOPES: Final = (0.6, 1.6)
"""Exponents of 1/f that the fields' amplitudes have; photographs have about 1."""
LEAVES: Final = 256
SIZES: Final = (0.015, 0.6)
"""Radii of the leaves, as shares of the picture's longer side."""
MADE_AT: Final = (128, 512)
"""Pixels of the longer side between which pictures are made; then they are resized, as photographs are."""
OPPONENT: Final = np.array([[1, 0, -1], [0.4, -0.8, 0.4]]) / np.sqrt(2)
"""Orange against blue, and magenta against green, which varies less: the axes of the colours of photographs."""


def made_pictures(count: int, spec: InputSpec, seed: int = SEED) -> Pixels:
    """Make `count` pictures as `decode` returns them: uint8 [count, height, width, channels]. The same every time."""
    draw = np.random.default_rng(seed)
    longer = max(spec.height, spec.width)
    ratio = float(np.clip(longer, *MADE_AT)) / longer
    size = (max(1, round(spec.height * ratio)), max(1, round(spec.width * ratio)))
    fields = np.stack([_noise(draw, size, slope) for slope in np.linspace(*SLOPES, FIELDS)])
    pictures = np.empty((count, spec.height, spec.width, spec.channels), np.uint8)
    for picture in pictures:
        made = Image.fromarray(_picture(draw, fields))
        made = made.filter(ImageFilter.GaussianBlur(draw.uniform(0.0, max(size) / 200)))
        made = made if spec.channels == 3 else made.convert("L")
        if made.size != (spec.width, spec.height):
            made = made.resize((spec.width, spec.height), Image.Resampling.BICUBIC)
        picture[:] = np.asarray(made).reshape(picture.shape)
    return pictures


def _picture(draw: np.random.Generator, fields: NDArray[np.float32]) -> Pixels:
    """Make one picture of the fields' size, uint8 [h, w, 3]."""
    leaves = _leaves(draw, fields.shape[1:])
    light = draw.uniform(0.05, 0.3)  # spread of the leaves' brightness
    vivid = light * draw.uniform(0.1, 1.2)  # and of their colours
    mean = draw.uniform(0.25, 0.7) + draw.normal(0, 0.08, 2) @ OPPONENT
    colours = mean + draw.normal(0, light, (LEAVES, 1)) + draw.normal(0, vivid, (LEAVES, 2)) @ OPPONENT
    made: NDArray[np.float32] = colours.astype(np.float32)[leaves]
    for spread in draw.uniform(0.0, 0.15, 2):
        amplitudes = draw.exponential(spread, (LEAVES, 1)) * (1 + draw.normal(0, 0.2, (LEAVES, 2)) @ OPPONENT)
        made += amplitudes.astype(np.float32)[leaves] * _moved(draw, fields)[..., None]
    return np.asarray(np.clip(made * 255, 0, 255).astype(np.uint8))


def _leaves(draw: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the number of the leaf that is on top at each pixel, uint8 [h, w]: discs, and polygons of few corners."""
    height, width = size
    small, large = (share * max(size) for share in SIZES)
    # The density r⁻³ between two sizes, by the inverse of its distribution function.
    radii = (small**-2 - draw.uniform(0, 1, LEAVES) * (small**-2 - large**-2)) ** -0.5
    radii[: LEAVES // 8] = large  # the ground is covered
    canvas = Image.new("L", (width, height))
    pen = ImageDraw.Draw(canvas)
    for number, radius in enumerate(radii.tolist()):
        x, y = draw.uniform(0, width), draw.uniform(0, height)
        corners = int(draw.integers(2, 7))
        if corners == 2:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=number)
        else:
            angles = np.sort(draw.uniform(0, 2 * np.pi, corners))
            points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
            pen.polygon(points.ravel().tolist(), fill=number)
    return np.asarray(canvas)


def _noise(draw: np.random.Generator, size: tuple[int, int], slope: float) -> NDArray[np.float32]:
    """Make a field of noise [h, w] with amplitude 1/f^slope, mean 0 and variance 1."""
    height, width = size
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequencies[0, 0] = np.inf
    spectrum = np.fft.rfft2(draw.normal(size=size)) / frequencies**slope
    field: Float64 = np.fft.irfft2(spectrum, s=size)
    return (field / max(float(field.std()), 1e-9)).astype(np.float32)


def _moved(draw: np.random.Generator, fields: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one of the fields, moved and turned over at random."""
    field: NDArray[np.float32] = fields[draw.integers(len(fields))]
    field = np.roll(field, draw.integers(0, field.shape), axis=(0, 1))
    return field[:: draw.choice((-1, 1)), :: draw.choice((-1, 1))]
