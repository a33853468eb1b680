"""Places of a picture's pixels: sizes after the resize, odd pixels of crop and padding, the colour around."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.contract.bundle_schema import InputSpec
from service.images.geometry import resized_size
from service.images.preprocess import decode, decode_whole
from service.images.resampling import fit
from tests.attacks.pictures import saved
from tests.service.images.pictures import photograph, spec, torchvision_reference

PAIR = (100, 50)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (224, 192)),
        ({"resize": PAIR}, PAIR),
        ({"resize": 64}, (64, 106)),
        ({"resize": 64, "resize_side": "shorter"}, (64, 106)),
        ({"resize": 64, "resize_side": "longer"}, (38, 64)),
        ({"resize": 64, "resize_rounding": "even"}, (64, 107)),
        ({"resize": PAIR, "resize_side": "shorter"}, (100, 166)),
        ({"resize": PAIR, "resize_side": "shorter", "resize_rounding": "even"}, (100, 167)),
        ({"resize": PAIR, "resize_side": "longer"}, (30, 50)),
    ],
)
def test_sizes_after_the_resize(changes: dict[str, Any], expected: tuple[int, int]) -> None:
    """Plan for a picture of 300 × 500 pixels."""
    assert resized_size(300, 500, spec(224, 192, **changes)) == expected


def test_no_side_vanishes() -> None:
    for rounding in ("down", "even"):
        given_spec = spec(8, 8, resize=8, resize_side="longer", resize_rounding=rounding)
        assert resized_size(1, 1000, given_spec) == (1, 8)


@pytest.mark.parametrize(("crop_rounding", "first"), [("even", [0, 1, 2, 2, 2, 3, 4]), ("down", [0, 1, 1, 2, 2, 3, 3])])
def test_a_crop_begins_at_half_the_rest_rounded(crop_rounding: str, first: list[int]) -> None:
    for rest, begins in enumerate(first, start=1):
        column = np.arange(4 + rest, dtype=np.uint8)[None, :, None].repeat(3, 2)
        given_spec = spec(1, 4, resize=(1, 4 + rest), crop_rounding=crop_rounding)
        assert fit(column, given_spec)[0, 0, 0] == begins


@pytest.mark.parametrize(("padding_rounding", "before"), [("down", 1), ("up", 2)])
def test_an_odd_pixel_of_padding_goes_to_one_side(padding_rounding: str, before: int) -> None:
    white = np.full((2, 5, 3), 255, np.uint8)
    kept = fit(white, spec(5, 5, resize=(2, 5), padding_rounding=padding_rounding))
    np.testing.assert_array_equal(kept[:, 0, 0] == 255, [before <= row < before + 2 for row in range(5)])


def test_a_letterbox_keeps_the_ratio_and_fills_the_rest() -> None:
    image = photograph((200, 100))
    kept = fit(np.asarray(image), spec(64, 64, resize=64, resize_side="longer", fill=(114, 115, 116)))
    np.testing.assert_array_equal(kept[16:48], np.asarray(image.resize((64, 32), Image.Resampling.BILINEAR)))
    assert (kept[:16] == (114, 115, 116)).all()
    assert (kept[48:] == (114, 115, 116)).all()


def test_a_grey_network_gets_the_grey_of_the_colour() -> None:
    grey = InputSpec(
        height=8, width=8, channels=1, resize=8, resize_side="longer", fill=(255, 0, 0), mean=(0,), std=(1,)
    )
    kept = fit(np.full((4, 8, 1), 9, np.uint8), grey)
    assert set(np.unique(kept[:2])) == {Image.new("RGB", (1, 1), "red").convert("L").getpixel((0, 0))}
    assert (kept[2:6] == 9).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_of_the_inputs_own_size_is_resized_and_cropped_like_any_other(kind: str) -> None:
    data = saved(photograph((32, 32)), kind)
    given_spec = spec(32, 32, resize=40)
    whole = Image.fromarray(decode_whole(data, given_spec))
    expected = torchvision_reference(whole, 40, (32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(decode(data, given_spec), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resize": 64},
        {"resize": (64, 96)},
        {"resize": (64, 96), "resize_side": "shorter", "resize_rounding": "even"},
        {"resize": 64, "resize_side": "longer", "fill": (255, 0, 0)},
        {"resize": (96, 64), "resize_side": "longer", "resize_rounding": "even", "fill": (255, 0, 0)},
    ],
)
@pytest.mark.parametrize("size", [(1023, 767), (767, 1023), (1501, 333), (900, 901)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_decoded_to_a_smaller_size_is_put_at_the_same_place(
    changes: dict[str, Any], size: tuple[int, int], orientation: int
) -> None:
    """Its resized size follows from its own size, not from the one that libjpeg rounded up."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth = photograph((16, 12)).resize(size, Image.Resampling.BICUBIC)
    data = saved(smooth, "JPEG", quality=95, exif=exif.tobytes())
    whole = decode(data, spec(64, 64, **changes))
    reduced_spec = spec(64, 64, reduced_jpeg_decoding=True, **changes)
    reduced = decode(data, reduced_spec)
    assert min(decode_whole(data, reduced_spec).shape[:2]) < min(size) or min(size) <= 192
    fill = (255, 0, 0)
    np.testing.assert_array_equal((reduced == fill).all(-1), (whole == fill).all(-1))
    assert np.abs(reduced.astype(int) - whole).mean() < 1


def test_points_are_sampled_in_the_whole_jpeg() -> None:
    data = saved(photograph((800, 600)), "JPEG")
    given_spec = spec(64, 64, antialias=False)
    reduced_spec = given_spec.model_copy(update={"reduced_jpeg_decoding": True})
    np.testing.assert_array_equal(decode(data, reduced_spec), decode(data, given_spec))
