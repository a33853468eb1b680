"""Resize and crop of pictures of any shape: torchvision's pixels, without more memory for extreme shapes."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.contract.bundle_schema import InputSpec
from service.images import resampling
from service.images.errors import ImageTooLarge
from service.images.geometry import resized_size
from service.images.preprocess import decode
from service.images.resampling import fit
from tests.service.images.pictures import spec, torchvision_reference

Pixels = NDArray[np.uint8]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

ROOT = Path(__file__).parents[3]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


def noise(height: int, width: int, seed: int, channels: int = 3, extreme: bool = False) -> Pixels:
    """Return random pixels; if `extreme`, black and white ones, which show a wrong rounding or an overshoot best."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if extreme else pixels


def as_torchvision(pixels: Pixels, given: InputSpec) -> Pixels:
    """Resize the whole picture and crop it afterwards."""
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    method, crop = Image.Resampling[given.interpolation.upper()], (given.height, given.width)
    if given.resize is None:
        cropped = np.asarray(image.resize((given.width, given.height), method))
    else:
        assert isinstance(given.resize, int)
        cropped = torchvision_reference(image, given.resize, crop, method)
    return cropped if cropped.ndim == 3 else cropped[..., None]


@settings(max_examples=300, deadline=None)
@given(
    short=st.integers(1, 40),
    ratio=st.floats(1, 60),
    upright=st.booleans(),
    larger=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    crop=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    channels=st.sampled_from([1, 3]),
    extreme=st.booleans(),
    interpolation=st.sampled_from(INTERPOLATIONS),
    rounding=st.sampled_from(["down", "even"]),
    seed=st.integers(0, 9),
)
def test_the_part_alone_has_the_pixels_of_the_whole(
    short: int, ratio: float, upright: bool, larger: tuple[int, int], crop: tuple[int, int], channels: int,
    extreme: bool, interpolation: Interpolation, rounding: str, seed: int,
) -> None:  # fmt: skip
    height, width = (int(short * ratio), short) if upright else (short, int(short * ratio))
    covered: dict[str, Any] = {
        "resize": (short + larger[0], short + larger[1]),
        "resize_side": "shorter",
        "resize_rounding": rounding,
    }
    given_spec = spec(*crop, interpolation=interpolation, **covered)
    resized = resized_size(height, width, given_spec)
    assume(max(height * width, crop[0] * crop[1]) < resized[0] * resized[1] < 2**22)
    pixels = noise(height, width, seed, channels, extreme)
    with pytest.MonkeyPatch.context() as context:
        context.setattr(resampling, "PLENTY", 2**22)
        whole = fit(pixels, given_spec)
        context.setattr(resampling, "PLENTY", 0)
        part = fit(pixels, given_spec)
    np.testing.assert_array_equal(part, whole)


LONG = [(10_000, 1), (1, 10_000), (60_001, 7), (3, 29_983), (65_535, 2)]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", LONG)
def test_long_pictures_have_torchvisions_pixels(size: tuple[int, int], interpolation: Interpolation) -> None:
    given_spec = spec(14, 20, resize=17, interpolation=interpolation)
    pixels = noise(*size, seed=1)
    resized = math.prod(resized_size(*size, given_spec))
    assert resized > max(resampling.PLENTY, math.prod(size))
    np.testing.assert_array_equal(fit(pixels, given_spec), as_torchvision(pixels, given_spec))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    np.testing.assert_array_equal(decode(buffer.getvalue(), given_spec), fit(pixels, given_spec))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_picture_whose_crop_is_wider_than_it_is_put_on_black(interpolation: Interpolation) -> None:
    given_spec = spec(31, 64, resize=24, interpolation=interpolation)
    pixels = noise(30_000, 2, seed=3)
    assert np.prod(resized_size(30_000, 2, given_spec)) > resampling.PLENTY
    kept = fit(pixels, given_spec)
    np.testing.assert_array_equal(kept, as_torchvision(pixels, given_spec))
    assert not kept[:, :20].any()
    assert kept[:, 20:44].any()


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (2, 3), (700, 3)])
def test_a_picture_without_a_resize_rule_is_stretched_as_torchvision_does(size: tuple[int, int]) -> None:
    for interpolation in INTERPOLATIONS:
        given_spec = spec(33, 20, interpolation=interpolation)
        pixels = noise(*size, seed=4)
        np.testing.assert_array_equal(fit(pixels, given_spec), as_torchvision(pixels, given_spec))


def test_a_side_has_a_limit_whatever_the_other_is() -> None:
    for size in ((1, 2**18 + 1), (2**18 + 1, 1)):
        buffer = io.BytesIO()
        Image.new("1", size).save(buffer, "PNG")
        with pytest.raises(ImageTooLarge, match="a side may have"):
            decode(buffer.getvalue(), spec(8, 8, resize=8))


MEASURE = """
import io, json, resource, sys
from PIL import Image
from service.contract.bundle_schema import InputSpec
from service.images.preprocess import decode

def picture(size):
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()

common = {"height": 224, "width": 224, "mean": (0,) * 3, "std": (1,) * 3, "fill": (200, 30, 30)}
specs = [InputSpec(**common, **changes) for changes in json.loads(sys.argv[1])]
bombs = [picture(size) for size in [(1, 10_000), (1, 65_535), (65_535, 1), (3, 2**18), (2**18, 3)]]
for spec in specs:
    decode(picture((640, 480)), spec)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for spec in specs:
    for bomb in bombs:
        assert (decode(bomb, spec) == (200, 30, 30)).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

RESIZES: tuple[dict[str, Any], ...] = (
    {},
    {"resize": 256},
    {"resize": (300, 400)},
    {"resize": (240, 330), "resize_side": "shorter", "resize_rounding": "even"},
    {"resize": 256, "resize_side": "longer"},
)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_extreme_shapes_take_little_memory(interpolation: str) -> None:
    """They are decoded in a separate process, whose peak is measured over that of a photograph, in KiB."""
    antialias = (True, False) if interpolation in ("bilinear", "bicubic") else (True,)
    specs = [{**changes, "interpolation": interpolation, "antialias": on} for changes in RESIZES for on in antialias]
    command = [sys.executable, "-c", MEASURE, json.dumps(specs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024
