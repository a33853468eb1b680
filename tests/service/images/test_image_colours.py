"""Pictures that are not plain RGB of 8 bits: which levels are black and white, and how transparency is filled."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.images.preprocess import decode
from tests.attacks import pictures
from tests.attacks.pictures import saved
from tests.service.images.pictures import spec


def shown(data: bytes) -> NDArray[np.uint8]:
    """The first row of the decoded picture, [width, 3]."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    row: NDArray[np.uint8] = decode(data, spec(height, width))[0]
    return row


def greys(data: bytes) -> list[int]:
    row = shown(data)
    assert (row == row[:, :1]).all()
    return [int(level) for level in row[:, 0]]


def png(bits: int, colour: int, rows: bytes, transparent: bytes = b"", palette: bytes = b"", width: int = 4) -> bytes:
    """One row of raw samples as a PNG."""
    extra = pictures.png_chunk(b"PLTE", palette) if palette else b""
    extra += pictures.png_chunk(b"tRNS", transparent) if transparent else b""
    return pictures.png(width, 1, bits=bits, colour=colour, data=b"\x00" + rows, extra=extra)


def tiff(values: Any, kind: str, *, photometric: int = 1, sample: int = 1, bits: int | None = None) -> bytes:
    """One row of grey in the byte order of `kind` ("<u2", ">i4" …)."""
    row = np.array(values, kind)
    little = kind[0] == "<"
    order = "<" if little else ">"
    data = row.tobytes() if bits != 12 else packed_in_twelve_bits(values)
    tags = [
        (256, 4, len(values)), (257, 4, 1), (258, 3, bits or 8 * row.itemsize), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 4, 1), (279, 4, len(data)), (339, 3, sample),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack(order + "HHI", tag, type_, 1) + struct.pack(order + ("I" if type_ == 4 else "H2x"), value)
        for tag, type_, value in tags
    )
    head = (b"II*\0" if little else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return head + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def packed_in_twelve_bits(values: list[int]) -> bytes:
    digits = "".join(f"{value:03x}" for value in values)
    return bytes.fromhex(digits + "0" * (len(digits) % 2))


# ------------------------------------------------ levels


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("kind", "sample", "values", "expected"),
    [
        ("u2", 1, [0, 255, 32896, 65535], [0, 1, 128, 255]),
        ("u2", 1, [0, 100, 200, 255], [0, 0, 1, 1]),  # what a file of 16 bits says is white does not depend on it
        ("i2", 2, [0, 100, 200, 255], [0, 100, 200, 255]),
        ("i2", 2, [-5, 0, 16384, 32767], [0, 0, 128, 255]),
        ("i4", 2, [0, 100, 200, 255], [0, 100, 200, 255]),
        ("i4", 2, [-1000, 0, 17, 250], [0, 0, 17, 250]),
        ("i4", 2, [0, 257, 25700, 65535], [0, 1, 100, 255]),
        ("i4", 2, [0, 1, 2**30, 2**31 - 1], [0, 0, 128, 255]),
        ("f4", 3, [0.0, 0.2, 0.6, 1.0], [0, 51, 153, 255]),
        ("f4", 3, [-1.0, 0.0, 51.4, 255.0], [0, 0, 51, 255]),
        ("f4", 3, [float("nan"), float("inf"), 1000.0, 3.0], [0, 255, 255, 3]),
    ],
)
def test_tiff_of_many_levels(order: str, kind: str, sample: int, values: list[float], expected: list[int]) -> None:
    assert greys(tiff(values, order + kind, sample=sample)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 200, 255], [0, 100, 200, 255]),
        ([0, 257, 25700, 65535], [0, 1, 100, 255]),
        ([0, 2**24, 2**31, 2**32 - 1], [0, 1, 128, 255]),
    ],
)
def test_unsigned_tiff_of_32_bits(values: list[int], expected: list[int]) -> None:
    assert greys(tiff(values, "<u4")) == expected


def test_tiff_of_12_bits() -> None:
    assert greys(tiff([0, 819, 2048, 4095], "<u2", bits=12)) == [0, 51, 128, 255]


def test_white_is_zero() -> None:
    assert greys(tiff([0, 13107, 65535], "<u2", photometric=0)) == [255, 204, 0]
    assert greys(tiff([0.0, 0.2, 1.0], "<f4", photometric=0, sample=3)) == [255, 204, 0]
    assert greys(tiff([0, 55, 255], "<u1", photometric=0)) == [255, 200, 0]


def test_integers_as_pillow_writes_them() -> None:
    values = np.array([[0, 7, 130, 255]], np.int32)
    assert greys(saved(Image.fromarray(values), "TIFF")) == [0, 7, 130, 255]
    assert greys(saved(Image.fromarray(values.astype(np.float32)), "TIFF")) == [0, 7, 130, 255]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_levels(bits: int) -> None:
    levels = [0, 1, 2**bits - 2, 2**bits - 1]
    sample = int("".join(f"{level:0{bits}b}" for level in levels).ljust(16, "0"), 2).to_bytes(2, "big")
    assert greys(png(bits, 0, sample[: (4 * bits + 7) // 8])) == [255 * level // (2**bits - 1) for level in levels]


def test_large_pictures_are_scaled_by_their_largest_value_wherever_it_is() -> None:
    values = np.zeros((700, 1000), np.int32)
    values[-1, -1] = 65535
    values[0, 0] = 25700
    pixels = decode(saved(Image.fromarray(values), "TIFF"), spec(700, 1000))
    assert pixels[0, 0].tolist() == [100] * 3
    assert pixels[-1, -1].tolist() == [255] * 3


# ------------------------------------------------ transparency


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_white_and_no_other_is(bits: int) -> None:
    top = 2**bits - 1
    levels = [0, top] if bits == 1 else [0, 1, top - 1, top]
    digits = "".join(f"{level:0{bits}b}" for level in levels)
    samples = int(digits.ljust((len(digits) + 7) // 8 * 8, "0"), 2).to_bytes((len(digits) + 7) // 8, "big")
    opaque = [round(255 * level / top) for level in levels]
    for index, level in enumerate(levels):
        expected = [255 if place == index else grey for place, grey in enumerate(opaque)]
        data = png(bits, 0, samples, transparent=struct.pack(">H", level), width=len(levels))
        assert greys(data) == expected


def test_the_transparent_colour_of_a_png_is_white_and_no_other_is() -> None:
    colours = [(10, 20, 30), (10, 20, 31), (0, 0, 0), (255, 255, 255)]
    data = png(8, 2, bytes(sum(colours, ())), transparent=struct.pack(">HHH", 10, 20, 30))
    assert shown(data).tolist() == [[255, 255, 255], [10, 20, 31], [0, 0, 0], [255, 255, 255]]


def test_the_transparent_colour_of_16_bits_is_compared_in_all_of_them() -> None:
    colours = [(0x1234, 0x5678, 0x9ABC), (0x1234, 0x5678, 0x9ABD), (0x1235, 0x5678, 0x9ABC), (0, 0x12, 0x34)]
    rows = struct.pack(">12H", *sum(colours, ()))
    data = png(16, 2, rows, transparent=struct.pack(">HHH", *colours[0]))
    assert shown(data).tolist() == [[255] * 3, [0x12, 0x56, 0x9A], [0x12, 0x56, 0x9A], [0, 0, 0]]
    data = png(16, 2, rows, transparent=struct.pack(">HHH", *colours[3]))
    assert shown(data).tolist() == [*[[0x12, 0x56, 0x9A]] * 3, [255] * 3]


def test_a_transparent_colour_is_found_wherever_it_is_in_a_large_picture() -> None:
    samples = np.zeros((700, 1000, 3), ">u2")
    samples[0, 0] = samples[-1, -1] = (7, 8, 9)
    rows = np.concatenate([np.zeros((700, 1), np.uint8), samples.view(np.uint8).reshape(700, -1)], axis=1)
    transparent = pictures.png_chunk(b"tRNS", struct.pack(">HHH", 7, 8, 9))
    data = pictures.png(1000, 700, bits=16, colour=2, data=rows.tobytes(), extra=transparent)
    pixels = decode(data, spec(700, 1000))
    assert pixels.sum() == 2 * 3 * 255
    assert (pixels[[0, -1], [0, -1]] == 255).all()


def test_the_transparency_of_a_palette() -> None:
    palette = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    row = bytes([0, 1, 2, 3])
    assert shown(png(8, 3, row, palette=palette)).tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    data = png(8, 3, row, palette=palette, transparent=bytes([255, 0, 128]))
    assert shown(data).tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 255], [9, 9, 9]]
    data = png(8, 3, row, palette=palette, transparent=bytes([255, 0]))  # one entry, wholly transparent
    assert shown(data).tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255], [9, 9, 9]]


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_channels(bits: int) -> None:
    form, top = (">{}B", 255) if bits == 8 else (">{}H", 65535)
    grey = png(bits, 4, struct.pack(form.format(8), 0, top, 0, 0, top, top, top, 0))
    assert greys(grey) == [0, 255, 255, 255]
    colour = png(bits, 6, struct.pack(form.format(16), *[top, 0, 0, top, top, 0, 0, 0, 0, 0, top, top, 0, 0, 0, 0]))
    assert shown(colour).tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 255]]


def test_palette_and_grey_with_alpha_in_tiff() -> None:
    image = Image.new("PA", (2, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putdata([(1, 255), (1, 0)])
    assert shown(saved(image, "TIFF")).tolist() == [[200, 100, 50], [255, 255, 255]]
    image = Image.new("LA", (2, 1))
    image.putdata([(70, 255), (70, 0)])
    assert greys(saved(image, "TIFF")) == [70, 255]


def test_a_transparent_colour_is_white_however_the_picture_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(16, 0, struct.pack(">4H", 0, 257, 514, 65535), transparent=struct.pack(">H", 257))
    at = data.index(b"IDAT") - 4
    turned = data[:at] + pictures.png_chunk(b"eXIf", exif.tobytes()[6:]) + data[at:]
    assert decode(turned, spec(4, 1))[:, 0, 0].tolist() == [0, 255, 2, 255]


def test_four_inks_as_adobe_and_others_write_them() -> None:
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(shown(saved(inks, "TIFF"))[0].astype(int) - (255, 0, 0)).max() == 0
    written = saved(inks, "JPEG", quality=100)  # with Adobe's marker, and inverted
    assert b"Adobe" in written
    assert np.abs(shown(written)[0].astype(int) - (255, 0, 0)).max() <= 3
