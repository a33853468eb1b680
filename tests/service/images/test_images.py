"""Decoding and preprocessing: odd pictures read as users expect, and the same pixels as torchvision's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from service.contract.bundle_schema import InputSpec
from service.images.errors import EmptyImage, ImageError, ImageTooLarge, UndecodableImage, UnknownFormat
from service.images.files import quick_pixel_count
from service.images.geometry import resized_size
from service.images.preprocess import decode, normalise
from tests.attacks.pictures import saved
from tests.service.images.pictures import photograph, spec, torchvision_reference
from tests.service.live_server import picture

Pixels = NDArray[np.uint8]

PHOTOGRAPHS = Path(__file__).parents[2] / "photographs"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (33, 17), (101, 67)])
def test_jpeg_pixels_are_those_of_pillow(mode: str, subsampling: int, progressive: bool, size: tuple[int, int]) -> None:
    for quality in (30, 75, 95):
        data = saved(photograph(size, mode), "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode(data, spec(size[1], size[0])), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_unless_the_bundle_says_otherwise(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(photograph((40, 24)), kind, exif=exif.tobytes(), **options)
    opened = Image.open(io.BytesIO(data)).convert("RGB")
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    height, width = turned.shape[:2]
    np.testing.assert_array_equal(decode(data, spec(height, width)), turned)
    as_stored = decode(data, spec(opened.height, opened.width, apply_exif_orientation=False))
    np.testing.assert_array_equal(as_stored, np.asarray(opened))


def test_transparency_is_laid_over_white() -> None:
    for mode, colour in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))):
        data = picture(colour, mode=mode)
        assert (decode(data, spec(8, 8)) == 255).all()
    half = decode(picture((255, 0, 0, 128), mode="RGBA"), spec(8, 8))
    np.testing.assert_array_equal(half[0, 0], (255, 127, 127))


def test_a_palette_with_a_transparent_entry_is_laid_over_white_too() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert (decode(saved(image, "PNG"), spec(8, 8))[0, 0] == (255, 0, 0)).all()
    assert (decode(saved(image, "PNG", transparency=1), spec(8, 8)) == 255).all()


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (32896, 128), (40000, 156)])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(value: int, expected: int) -> None:
    for kind in ("PNG", "TIFF"):
        data = saved(Image.fromarray(np.full((8, 8), value, np.uint16)), kind)
        assert (decode(data, spec(8, 8)) == expected).all()


def test_float_grey_is_scaled_by_what_its_white_is() -> None:
    for white, value in ((1.0, 0.5), (255.0, 127.5)):
        image = Image.fromarray(np.array([[0.0, value], [white, np.nan]], np.float32))
        pixels = decode(saved(image, "TIFF"), spec(2, 2))[..., 0]
        np.testing.assert_array_equal(pixels, [[0, 128], [255, 0]])


def test_one_bit_and_animation_and_bmp() -> None:
    assert (decode(picture(1, mode="1"), spec(8, 8)) == 255).all()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data, spec(8, 8))[0, 0] == (255, 0, 0)).all()
    assert (decode(picture("red", kind="BMP"), spec(8, 8))[0, 0] == (255, 0, 0)).all()


def test_a_grey_network_sees_grey() -> None:
    grey = InputSpec(height=8, width=8, channels=1, mean=(0.0,), std=(1.0,))
    for kind in ("PNG", "JPEG"):
        data = saved(photograph((8, 8)), kind)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        np.testing.assert_array_equal(decode(data, grey)[..., 0], expected)


# ------------------------------------------------ torchvision's Resize and CenterCrop


CASES = [
    ((100, 80), 64, (56, 56)), ((80, 100), 64, (56, 56)), ((33, 97), 40, (32, 32)), ((97, 33), 40, (32, 32)),
    ((50, 50), 50, (50, 50)), ((51, 50), 50, (49, 48)), ((20, 90), 24, (48, 48)), ((90, 20), 25, (48, 47)),
    ((31, 31), 33, (40, 41)), ((500, 3), 8, (8, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("size", "resize", "crop"), CASES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_resize_and_crop_are_torchvisions(
    size: tuple[int, int], resize: int, crop: tuple[int, int], interpolation: Any
) -> None:
    image = photograph(size)
    pixels = decode(saved(image, "PNG"), spec(*crop, resize=resize, interpolation=interpolation))
    method = Image.Resampling[interpolation.upper()]
    np.testing.assert_array_equal(pixels, torchvision_reference(image, resize, crop, method))


def test_without_a_resize_rule_the_whole_picture_is_stretched() -> None:
    image = photograph((50, 30))
    expected = np.asarray(image.resize((20, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode(saved(image, "PNG"), spec(10, 20)), expected)
    assert resized_size(30, 50, spec(10, 20)) == (10, 20)


@pytest.mark.parametrize("changes", [{}, {"channel_order": "bgr"}, {"layout": "nhwc"}, {"scale": 255.0}])
def test_normalisation_follows_the_definition(changes: dict[str, Any]) -> None:
    mean, std = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    pixels = np.stack([np.asarray(photograph((6, 5), seed=seed)) for seed in range(3)])
    tensor = normalise(pixels, spec(5, 6, mean=mean, std=std, **changes))
    assert tensor.dtype == np.float32
    expected = (pixels.astype(np.float64) / 255 - mean) / std * changes.get("scale", 1.0)
    if changes.get("channel_order") == "bgr":
        expected = expected[..., ::-1]
    if changes.get("layout") != "nhwc":
        expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-6 * changes.get("scale", 1.0))


def test_normalisation_is_torchs_bit_for_bit() -> None:
    torch = pytest.importorskip("torch")
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    reference = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(torch.float32).div(255)
    reference = reference.sub(torch.tensor(mean).view(-1, 1, 1)).div(torch.tensor(std).view(-1, 1, 1))
    np.testing.assert_array_equal(normalise(pixels, spec(16, 16, mean=mean, std=std)), reference.numpy())


def test_reduced_decoding_comes_close_and_is_off_by_default() -> None:
    image = photograph((1024, 768))
    data = saved(image, "JPEG", quality=90)
    exact = decode(data, spec(64, 64, resize=64)).astype(int)
    reduced = decode(data, spec(64, 64, resize=64, reduced_jpeg_decoding=True)).astype(int)
    assert 0 < np.abs(exact - reduced).mean() < 2
    small = saved(photograph((70, 70)), "JPEG")
    np.testing.assert_array_equal(
        decode(small, spec(64, 64, resize=64)), decode(small, spec(64, 64, resize=64, reduced_jpeg_decoding=True))
    )


# ------------------------------------------------ refusals


def bomb(kind: str) -> bytes:
    """A few kilobytes that decode to 144 megapixels."""
    buffer = io.BytesIO()
    Image.new("1" if kind != "GIF" else "L", (12_000, 12_000)).save(buffer, kind)
    return buffer.getvalue()


def test_what_is_wrong_with_a_file_is_told_apart() -> None:
    good = saved(photograph((40, 40)), "PNG")
    cases: dict[type[ImageError], list[bytes]] = {
        EmptyImage: [b""],
        UnknownFormat: [b"x", b"%PDF-1.7", b"<svg/>", b"\x00" * 100, b"RIFF....WAVE"],
        UndecodableImage: [good[:20], good[: len(good) // 2], b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF....WEBPVP8 "],
        ImageTooLarge: [bomb("PNG"), bomb("GIF")],
    }
    for error, files in cases.items():
        for data in files:
            with pytest.raises(error):
                decode(data, spec(8, 8))


def test_pixels_are_counted_by_the_header_alone() -> None:
    for kind in ("JPEG", "PNG"):
        data = saved(photograph((123, 45)), kind)
        assert quick_pixel_count(data) == 123 * 45
        assert quick_pixel_count(data[: len(data) // 2 + 20]) == 123 * 45
    assert quick_pixel_count(b"\xff\xd8\xff\xe0broken") is None


def test_pixels_are_counted_as_the_decoder_counts_them() -> None:
    options: tuple[dict[str, Any], ...] = (
        {"progressive": True},
        {"comment": b"\xff\xc0" * 300},
        {"icc_profile": b"\xff\xc0" * 40_000, "quality": 1},
        {"exif": Image.Exif()},
    )
    files = [saved(photograph((123, 45)), "JPEG", **given) for given in options]
    files += [path.read_bytes() for path in PHOTOGRAPHS.glob("*.jpg")]
    for data in files:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        assert quick_pixel_count(data) == height * width


def test_a_header_cut_anywhere_is_counted_right_or_not_at_all() -> None:
    for kind in ("JPEG", "PNG"):
        data = saved(photograph((123, 45)), kind)
        assert {quick_pixel_count(data[:end]) for end in range(len(data))} == {None, 123 * 45}
