"""AVIFs whose parts are far larger or more than the picture, and the AV1 headers that tell."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.images.av1 import MAX_UNITS, frames
from service.images.avif import LEAST_PIXELS, MAX_ITEMS, MAX_PARTS, MAX_SAMPLES, decoded_pixels
from service.images.errors import ImageError, ImageTooLarge, UndecodableImage
from service.images.preprocess import decode
from tests.attacks import avif
from tests.attacks.pictures import saved
from tests.service.images.pictures import photograph, spec

ROOT = Path(__file__).parents[3]
SPEC = spec(8, 8)

OPTIONS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "best": {"quality": 100, "subsampling": "4:4:4"},
    "worst": {"quality": 0},
    "4:2:2": {"subsampling": "4:2:2"},
    "grey": {"subsampling": "4:0:0"},
    "limited range": {"range": "limited"},
    "tiles": {"autotiling": False, "tile_rows": 1, "tile_cols": 1},
    "metadata": {"icc_profile": bytes(100_000), "xmp": b"x" * 100_000, "exif": b"Exif\0\0II*\0" + bytes(30)},
    "premultiplied": {"alpha_premultiplied": True},
}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("options", OPTIONS)
def test_what_pillow_writes_has_the_pixels_that_it_says(options: str, mode: str) -> None:
    image = photograph((201, 134), mode)
    data = saved(image, "AVIF", speed=9, **OPTIONS[options])
    assert decoded_pixels(data) == 201 * 134 * (2 if mode == "RGBA" else 1)
    assert decode(data, SPEC).shape == (8, 8, 3)
    moving = saved(image, "AVIF", save_all=True, append_images=[image.rotate(9)], speed=9, **OPTIONS[options])
    assert decoded_pixels(moving) == decoded_pixels(data)
    assert decode(moving, SPEC).shape == (8, 8, 3)


def test_files_put_together_by_hand_are_decoded() -> None:
    for data, count, shade in (
        (avif.picture(64), 1, 0),
        (avif.picture(64, extents=3), 1, 0),
        (avif.with_alpha(64), 2, 255),
        (avif.with_cells(64, columns=2), 2, 0),
        (avif.with_two_sequences(64), 2, 0),
        (avif.animation(64), 1, 0),
    ):
        assert decoded_pixels(data) == count * 64 * 64
        with Image.open(io.BytesIO(data)) as image:
            assert (decode(data, spec(image.height, image.width)) == shade).all()


LIES: dict[str, Callable[[int], bytes]] = {
    "a stream": avif.picture,
    "a stream in three places": lambda side: avif.picture(side, extents=3),
    "transparency": avif.with_alpha,
    "transparency, scaled": avif.scaled(avif.with_alpha),
    "cells": avif.with_cells,
    "cells, scaled": avif.scaled(avif.with_cells),
    "a second sequence": avif.with_two_sequences,
    "a track": avif.animation,
}


@pytest.mark.parametrize("lie", LIES)
def test_parts_far_larger_than_the_picture_are_refused(lie: str) -> None:
    with pytest.raises(ImageTooLarge, match=r"says \(64, 64\), and has 90"):
        decode(LIES[lie](3000), SPEC)


@pytest.mark.parametrize("brand", [b"avis", b"mif1", b"msf1"])
def test_an_animation_is_judged_by_what_its_brand_has_decoded(brand: bytes) -> None:
    data = avif.animation(3000)
    with pytest.raises(ImageTooLarge):
        decode(data[:8] + brand + data[12:], SPEC)
    assert decode(data[:8] + b"avif" + data[12:], SPEC).shape == (8, 8, 3)  # the item beside the track is as it says


def test_many_small_cells_are_no_lie() -> None:
    data = avif.with_cells(64, columns=200)
    assert decoded_pixels(data) == 200 * 64 * 64
    assert decode(data, SPEC).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (avif.of_empty_extents(1), f"more than {MAX_PARTS} parts"),
        (avif.of_references(MAX_PARTS), f"more than {MAX_PARTS} parts"),
        (avif.of_references(MAX_ITEMS + 1), f"more than {MAX_ITEMS} items"),
        (avif.of_sample_kinds(MAX_PARTS), f"more than {MAX_PARTS} parts"),
    ],
    ids=["extents", "references", "items", "kinds of samples"],
)
def test_an_avif_of_too_many_parts_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImage, match=reason):
        decode(data, SPEC)


def test_an_animation_of_too_many_pictures_is_refused() -> None:
    data = bytearray(avif.animation(64))
    at = data.index(b"stsc") + 16
    data[at : at + 4] = struct.pack(">I", MAX_SAMPLES + 1)
    with pytest.raises(UndecodableImage, match=f"more than {MAX_SAMPLES} pictures"):
        decode(bytes(data), SPEC)


SAMPLES = {
    "picture": avif.picture(64),
    "extents": avif.picture(64, extents=3),
    "transparency": avif.with_alpha(64),
    "cells": avif.with_cells(64, columns=2),
    "animation": avif.animation(64),
}


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=150, deadline=None)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6), end=st.floats(0, 1)
)
def test_damage_anywhere_is_an_error_of_ours_or_none(name: str, damage: list[tuple[float, int]], end: float) -> None:
    data = bytearray(SAMPLES[name])
    for place, value in damage:
        data[int(place * len(data))] = value
    for damaged in (bytes(data), bytes(data[: int(end * len(data))])):
        with suppress(UndecodableImage):
            assert decoded_pixels(damaged) >= 0
        with suppress(ImageError):
            decode(damaged, SPEC)


MEASURE = """
import io, sys
from tests.attacks import avif
from service.contract.bundle_schema import InputSpec
from service.images.errors import ImageError
from service.images.preprocess import decode

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

spec = InputSpec(height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3)
decode(avif.picture(64), spec)
stream = bytes.fromhex(sys.stdin.read())
before = peak()
try:
    decode(stream, spec)
except ImageError:
    pass
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize("make", [avif.picture, avif.with_alpha, avif.with_cells, avif.of_empty_extents])
def test_lying_files_take_little_memory(make: Callable[[int], bytes]) -> None:
    """Each is decoded in a separate process, whose peak is measured over that of a small picture, in KiB."""
    data = make(600 if make is avif.of_empty_extents else 16_000)
    assert len(data) < 10_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=data.hex(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 16 * 1024


# ------------------------------------------------ AV1


def packed(*fields: tuple[int, int]) -> bytes:
    """Concatenate numbers that are given as (value, bits)."""
    text = "".join(f"{value:0{bits}b}" for value, bits in fields if bits) + "1"
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def unit(kind: int, content: bytes, sized: bool = True) -> bytes:
    return bytes([kind << 3 | 2 * sized]) + (bytes([len(content)]) if sized else b"") + content


def sequence(*, timing: bool = False, identifiers: bool = False, order: bool = False, screen: int = 2) -> bytes:
    """A sequence header of 640 × 480 pixels, with 16 bits for each side."""
    intervals = ((1, 1), (1, 32), (30, 32), (0, 1), (1, 1), (9, 5), (1, 32), (7, 5), (4, 5)) if timing else ((0, 1),)
    point = ((0, 12), (8, 5), (0, 1), *(((1, 1), (0, 21)) if timing else ()), (1, 1), (9, 4))
    tools = ((1, 1), (1, 1)) if screen == 2 else ((0, 1), (screen, 1), *(((0, 1), (1, 1)) if screen else ()))
    return packed(
        (0, 3), (0, 1), (0, 1), *intervals, (1, 1), (1, 5), *point, *point,
        (15, 4), (15, 4), (639, 16), (479, 16), *(((1, 1), (3, 4), (2, 3)) if identifiers else ((0, 1),)),
        (0, 7), *(((1, 1), (0, 2)) if order else ((0, 1),)), *tools, (0, 20),
    )  # fmt: skip


def frame(
    *, says_its_size: bool, kind: int = 0, shown: bool = True, timing: bool, identifiers: bool, screen: int
) -> bytes:
    """The beginning of a frame's header."""
    return packed(
        (0, 1), (kind, 2), (shown, 1), (0, (5 if timing else 0) if shown else 1),
        *(() if kind == 3 or (kind == 0 and shown) else ((0, 1),)),
        (0, 1), *(((1, 1), (1, 1)) if screen == 2 else ()), (5, 8 if identifiers else 0),
        *(() if kind == 3 else ((says_its_size, 1),)), (0, 30),
    )  # fmt: skip


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("screen", [0, 1, 2])
@pytest.mark.parametrize("identifiers", [False, True])
@pytest.mark.parametrize("timing", [False, True])
def test_a_frame_that_says_its_own_size_counts_for_the_largest(
    timing: bool, identifiers: bool, screen: int, order: bool
) -> None:
    head = unit(2, b"") + unit(1, sequence(timing=timing, identifiers=identifiers, order=order, screen=screen))
    for kind in range(4):
        for shown in (False, True):
            for says_its_size in (False, True):
                content = frame(
                    says_its_size=says_its_size,
                    kind=kind,
                    shown=shown,
                    timing=timing,
                    identifiers=identifiers,
                    screen=screen,
                )
                expected = 2**32 if says_its_size or kind == 3 else 640 * 480
                for unit_kind in (3, 6, 7):
                    assert list(frames(head + unit(unit_kind, content))) == [expected]
                    assert list(frames(head + unit(unit_kind, content, sized=False))) == [expected]


def test_the_headers_of_real_streams() -> None:
    stream, _ = avif.coded(64)
    assert list(frames(stream)) == [64 * 64]
    assert list(frames(stream * 3)) == [64 * 64] * 3


def test_streams_that_are_refused() -> None:
    stream, _ = avif.coded(64)
    with pytest.raises(UndecodableImage, match="no sequence header"):
        list(frames(unit(6, bytes(20))))
    with pytest.raises(UndecodableImage, match="units"):
        list(frames(unit(2, b"") * MAX_UNITS + stream))
    with pytest.raises(UndecodableImage, match="cut short"):
        list(frames(stream[:-1]))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_stream(data: bytes) -> None:
    with suppress(UndecodableImage):
        assert all(pixels >= 0 for pixels in frames(unit(1, sequence()) + data))
    with suppress(UndecodableImage):
        list(frames(unit(1, data[:100]) + unit(6, data[100:])))


def test_a_small_frame_counts_for_more_than_it_has() -> None:
    assert decoded_pixels(avif.picture(16, 16)) == LEAST_PIXELS
