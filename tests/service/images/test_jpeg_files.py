"""JPEG files that are cut, damaged, or made of far more scans, segments or components than a picture needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.images.errors import UndecodableImage, UnknownFormat
from service.images.files import quick_pixel_count
from service.images.jpeg import MAX_EXIF_SEGMENTS, MAX_SEGMENTS, check_scans
from service.images.limits import MAX_PIECES
from service.images.preprocess import decode
from tests.attacks.pictures import saved
from tests.service.images.pictures import photograph, spec

END = b"\xff\xd9"
SPEC = spec(40, 48)
JPEGS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("RGB", {}),
    "progressive": ("RGB", {"progressive": True}),
    "grey": ("L", {}),
    "grey, progressive": ("L", {"progressive": True, "quality": 95}),
    "four inks": ("CMYK", {}),
    "four inks, progressive": ("CMYK", {"progressive": True}),
    "no subsampling": ("RGB", {"subsampling": 0}),
    "restarts": ("RGB", {"restart_marker_rows": 1}),
    "RGB as it is": ("RGB", {"keep_rgb": True}),
}


def jpeg(name: str) -> bytes:
    mode, options = JPEGS[name]
    return saved(photograph((48, 40), mode), "JPEG", **options)


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_its_end_marker_is_decoded(name: str) -> None:
    data = jpeg(name)
    assert data.endswith(END)
    whole = decode(data, SPEC)
    for cut in (data[:-2], data[:-1]):
        np.testing.assert_array_equal(decode(cut, SPEC), whole)
    grey = spec(40, 48, channels=1, mean=(0.0,), std=(1.0,))
    np.testing.assert_array_equal(decode(data[:-2], grey), decode(data, grey))


def test_a_thumbnails_end_is_not_the_pictures() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    thumbnail = saved(photograph((16, 16)), "JPEG")
    data = saved(photograph((48, 40)), "JPEG", exif=exif.tobytes() + thumbnail)
    assert END in data[:-2]
    turned = decode(data, spec(48, 40))
    np.testing.assert_array_equal(decode(data[:-2], spec(48, 40)), turned)


@pytest.mark.parametrize("name", JPEGS)
@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_jpeg_cut_anywhere_is_refused_or_whole(name: str, place: float) -> None:
    """After each scan a progressive JPEG is a whole picture, but not the picture that was sent."""
    data = jpeg(name)
    cut = data[: int(len(data) * place)] or data[:3]
    try:
        pixels = decode(cut, SPEC)
    except (UndecodableImage, UnknownFormat):
        return
    np.testing.assert_array_equal(pixels, decode(data, SPEC))


@pytest.mark.parametrize("name", ["progressive", "grey, progressive", "four inks, progressive"])
def test_a_progressive_jpeg_without_a_scan_and_its_end_is_refused(name: str) -> None:
    data = jpeg(name)
    last = data.rindex(b"\xff\xda")
    tables = data.rindex(b"\xff\xc4", 0, last)
    for cut in (data[:last], data[:tables]):
        with pytest.raises(UndecodableImage):
            decode(cut, SPEC)


def scans(count: int, side: int = 64) -> bytes:
    data = saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + END


def test_a_jpeg_of_more_scans_than_any_encoder_writes_is_refused() -> None:
    assert decode(scans(900), spec(64, 64)).shape == (64, 64, 3)
    with pytest.raises(UndecodableImage, match="scans"):
        decode(scans(1100), spec(64, 64))


def test_scans_are_counted_by_their_work() -> None:
    check_scans(scans(90, 1000), 10_000_000)
    with pytest.raises(UndecodableImage, match="more than 32 scans"):
        check_scans(scans(90, 1000), 1_000_000)


def test_scans_within_metadata_are_no_scans() -> None:
    profile = b"\xff\xda" * 30_000
    data = saved(photograph((48, 40)), "JPEG", icc_profile=profile)
    assert data.count(b"\xff\xda") > 30_000
    np.testing.assert_array_equal(decode(data + profile, SPEC), decode(saved(photograph((48, 40)), "JPEG"), SPEC))


def test_every_photograph_keeps_to_the_limit_of_scans() -> None:
    for path in (Path(__file__).parents[2] / "photographs").glob("*.jpg"):
        check_scans(path.read_bytes())


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_that_says_two_sizes_is_refused(options: dict[str, Any]) -> None:
    small, large = (saved(photograph(size), "JPEG", **options) for size in ((16, 16), (640, 480)))
    start = small.index(b"\xff\xc2" if options else b"\xff\xc0")
    frame = small[start : start + 2 + int.from_bytes(small[start + 2 : start + 4], "big")]
    with pytest.raises(UndecodableImage, match="two sizes"):
        decode(large[:2] + frame + large[2:], spec(8, 8))


def test_bytes_that_fill_up_before_a_segment_are_no_segment() -> None:
    plain = saved(photograph((48, 40)), "JPEG")
    at = plain.index(b"\xff\xc0")
    data = plain[:at] + b"\xff" * 3 + plain[at:]
    assert quick_pixel_count(data) == 48 * 40
    np.testing.assert_array_equal(decode(data, SPEC), decode(plain, SPEC))


def test_the_size_of_a_jpeg_is_looked_for_among_so_many_segments() -> None:
    plain = saved(photograph((48, 40)), "JPEG")
    own = plain[: plain.index(b"\xff\xc0")].count(b"\xff")
    for piece in (b"\xff\xfe\0\2", b"\xff"):
        for count, expected in ((MAX_SEGMENTS - own - 1, 48 * 40), (MAX_SEGMENTS, None)):
            data = plain[:2] + piece * count + plain[2:]
            assert quick_pixel_count(data) == expected
            np.testing.assert_array_equal(decode(data, SPEC), decode(plain, SPEC))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("piece", [b"\xff\xe2\0\2", b"\xff\xe2\0\3 ", b"\xff\xe2\0\2 "])
def test_a_jpeg_of_more_segments_than_are_listed_in_a_moment_is_refused(piece: bytes, mode: str) -> None:
    plain = saved(photograph((48, 40), mode), "JPEG")
    np.testing.assert_array_equal(decode(plain[:2] + piece * 1000 + plain[2:], SPEC), decode(plain, SPEC))
    with pytest.raises(UndecodableImage, match="segments"):
        decode(plain[:2] + piece * (MAX_PIECES + 1) + plain[2:], SPEC)


def turned_jpeg(mode: str, more: bytes) -> bytes:
    """A JPEG to be turned by its EXIF, with `more` before its scan, behind where its size stands."""
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = saved(photograph((40, 48), mode), "JPEG", exif=exif.tobytes())
    at = plain.index(b"\xff\xda")
    return plain[:at] + more + plain[at:]


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_is_turned_only_if_its_segments_are_few(mode: str) -> None:
    comment = b"\xff\xfe\0\2"
    turned = decode(turned_jpeg(mode, b""), SPEC)
    np.testing.assert_array_equal(decode(turned_jpeg(mode, comment * 1000), SPEC), turned)
    with pytest.raises(UndecodableImage, match="segments"):
        decode(turned_jpeg(mode, comment * (MAX_PIECES + 1)), SPEC)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_of_more_segments_of_exif_than_are_joined_in_a_moment_is_refused(mode: str) -> None:
    exif = b"\xff\xe1\0\x10Exif\0\0" + bytes(8)
    turned = decode(turned_jpeg(mode, b""), SPEC)
    np.testing.assert_array_equal(decode(turned_jpeg(mode, exif * (MAX_EXIF_SEGMENTS - 1)), SPEC), turned)
    with pytest.raises(UndecodableImage, match="segments of EXIF"):
        decode(turned_jpeg(mode, exif * MAX_EXIF_SEGMENTS), SPEC)


def test_many_profile_segments_after_the_pixels_do_no_harm() -> None:
    plain = saved(photograph((48, 40)), "JPEG")
    np.testing.assert_array_equal(decode(plain + b"\xff\xe2\0\2" * (MAX_PIECES + 1), SPEC), decode(plain, SPEC))


def test_a_jpeg_of_more_components_than_are_listed_in_a_moment_is_refused() -> None:
    plain = saved(photograph((48, 40), "CMYK"), "JPEG")
    at = plain.index(b"\xff\xc0")
    frame = plain[at:][:4].replace(plain[at + 2 : at + 4], b"\xff\xff") + plain[at + 4 : at + 20]
    with pytest.raises(UndecodableImage, match="components"):
        decode(plain[:at] + frame.ljust(65_537, b"\1") * 4 + plain[at:], SPEC)
