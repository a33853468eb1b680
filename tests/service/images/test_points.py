"""Resizing without averaging: OpenCV's and torch's pixels within one level."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from service.images.resampling import fit
from tests.service.images.pictures import photograph, spec

Pixels = NDArray[np.uint8]

sizes = st.tuples(st.integers(1, 120), st.integers(1, 120))


@settings(max_examples=150, deadline=None)
@given(
    size=sizes,
    resized=sizes,
    channels=st.sampled_from([1, 3]),
    extreme=st.booleans(),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    seed=st.integers(0, 99),
)
def test_pixels_without_antialias_are_opencvs_and_torchs_within_one_level(
    size: tuple[int, int], resized: tuple[int, int], channels: int, extreme: bool,
    interpolation: Literal["bilinear", "bicubic"], seed: int,
) -> None:  # fmt: skip
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)
    if extreme:
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    found = fit(pixels, spec(*resized, interpolation=interpolation, antialias=False)).astype(float)
    method = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    of_opencv = cv2.resize(pixels, resized[::-1], interpolation=method).reshape(found.shape)
    assert np.abs(found - of_opencv).max() <= 1
    as_float = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float()
    of_torch = torch.nn.functional.interpolate(as_float, resized, mode=interpolation, align_corners=False)
    # Rounding costs half a level, and torch's positions in float32 a little more.
    assert np.abs(found - of_torch[0].permute(1, 2, 0).clamp(0, 255).numpy()).max() <= 0.51


def test_antialias_makes_a_difference_where_a_picture_shrinks() -> None:
    stripes = np.tile(np.array([0, 255, 0], np.uint8), 32)[None, :, None].repeat(96, 0).repeat(3, 2)
    assert (fit(stripes, spec(32, 32, antialias=False)) == 255).all()  # the middle of every three pixels
    assert fit(stripes, spec(32, 32)).max() < 128


def test_nearest_takes_pillows_places_with_antialias_and_without() -> None:
    image = photograph((90, 61))
    expected = np.asarray(image.resize((40, 33), Image.Resampling.NEAREST))
    for antialias in (True, False):
        given_spec = spec(33, 40, interpolation="nearest", antialias=antialias)
        np.testing.assert_array_equal(fit(np.asarray(image), given_spec), expected)


@pytest.mark.parametrize("interpolation", ["lanczos", "box", "hamming"])
def test_a_filter_that_averages_areas_cannot_be_had_without_antialias(interpolation: str) -> None:
    with pytest.raises(ValidationError, match=f"{interpolation} averages areas"):
        spec(8, 8, interpolation=interpolation, antialias=False)


def test_only_the_crop_of_the_sampled_picture_is_computed_and_it_is_the_same() -> None:
    pixels = np.asarray(photograph((70, 50)))
    whole = fit(pixels, spec(37, 51, resize=(37, 51), antialias=False))
    cropped = fit(pixels, spec(20, 31, resize=(37, 51), antialias=False))
    np.testing.assert_array_equal(cropped, whole[8:28, 10:41])
