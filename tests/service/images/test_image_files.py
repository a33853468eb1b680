"""AVIF, WebP, GIF and TIFF files with other brands, odd comments, or far more parts than pixels."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from service.images.errors import UndecodableImage, UnknownFormat
from service.images.files import signature
from service.images.limits import MAX_PIECES
from service.images.preprocess import decode
from tests.attacks.pictures import saved
from tests.service.images.pictures import photograph, spec

SPEC = spec(40, 48)


def branded(major: bytes, *others: bytes) -> bytes:
    """An AVIF of one colour whose file type box has these brands."""
    data = saved(Image.new("RGB", (64, 48), (200, 30, 30)), "AVIF", quality=100)
    size = int.from_bytes(data[:4], "big")
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    box = struct.pack(">I", len(box) + 4) + box
    assert len(box) == size, "the offsets in the file hold for a box as long as the one that was there"
    return box + data[size:]


def test_avif_is_told_by_any_of_its_brands() -> None:
    original = saved(Image.new("RGB", (64, 48)), "AVIF", quality=100)
    room = int.from_bytes(original[:4], "big") // 4 - 4
    for major, other in ((b"avif", b"mif1"), (b"mif1", b"avif"), (b"miaf", b"avif"), (b"MA1B", b"avif")):
        data = branded(major, other, *([b"miaf"] * (room - 1)))
        assert signature(data) == "AVIF"
        assert np.abs(decode(data, spec(48, 64)).astype(int) - (200, 30, 30)).max() <= 3


def test_an_animated_avif_shows_its_first_frame_under_either_brand() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=100)
    assert data[8:12] == b"avis"
    for major in (b"avis", b"msf1"):
        pixels = decode(data[:8] + major + data[12:], spec(48, 64))
        assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 6


@pytest.mark.parametrize("brands", [(b"mif1", b"heic"), (b"heic", b"mif1"), (b"msf1", b"hevc"), (b"mif1", b"mif1")])
def test_heic_is_refused_by_its_name(brands: tuple[bytes, bytes]) -> None:
    data = struct.pack(">I", 20) + b"ftyp" + brands[0] + bytes(4) + brands[1] + bytes(100)
    with pytest.raises(UnknownFormat, match="HEIC"):
        decode(data, SPEC)


def test_a_film_is_no_picture() -> None:
    with pytest.raises(UnknownFormat, match="begin like none of"):
        decode(struct.pack(">I", 20) + b"ftypisom" + bytes(4) + b"mp41" + bytes(100), SPEC)


@pytest.mark.parametrize("behind", [False, True])
def test_a_webp_in_too_many_pieces_is_refused(behind: bool) -> None:
    plain = saved(photograph((48, 40)), "WEBP", exif=b"Exif\0\0II*\0" + bytes(20))
    assert plain[12:16] == b"VP8X"
    at = len(plain) if behind else 30
    for count in (100, MAX_PIECES):
        data = plain[:at] + b"teSt\1\0\0\0x\0" * count + plain[at:]
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
        if count < MAX_PIECES:
            np.testing.assert_array_equal(decode(data, SPEC), decode(plain, SPEC))
        else:
            with pytest.raises(UndecodableImage, match="chunks"):
                decode(data, SPEC)


def test_comments_of_a_gif() -> None:
    plain = saved(Image.new("RGB", (8, 8), "red").convert("P"), "GIF")
    table = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    for comment, taken in ((b"\xff" + bytes(255), 2000), (b"\x01c", 60_000), (b"\x01c", MAX_PIECES + 1)):
        data = plain[:table] + b"!\xfe" + comment * taken + b"\0" + plain[table:]
        if taken <= MAX_PIECES:
            np.testing.assert_array_equal(decode(data, spec(8, 8)), decode(plain, spec(8, 8)))
        else:
            with pytest.raises(UndecodableImage, match="comments"):
                decode(data, spec(8, 8))


def tiff(*tags: tuple[int, int, int, int], order: str = "<", large: bool = False) -> bytes:
    """A TIFF of 8 × 8 grey pixels with these tags (tag, type, count, value) instead of its own, or beside them."""
    own = {256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    entries = [(tag, *rest) for tag, rest in own.items()] + list(tags)
    word, start = ("Q", 16) if large else ("I", 8)
    body = b"".join(
        struct.pack(order + "HH" + word, tag, kind, count)
        + struct.pack(order + ("H" if kind == 3 else word), value).ljust(8 if large else 4, b"\0")
        for tag, kind, count, value in entries
    )
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, start) if large else struct.pack(order + "HI", 42, start)
    return mark + head + struct.pack(order + ("Q" if large else "H"), len(entries)) + body + bytes(500)


@pytest.mark.parametrize(("order", "large"), [("<", False), (">", False), ("<", True)])
def test_tiles_far_larger_or_more_than_the_picture_are_refused(order: str, large: bool) -> None:
    strips = ((273, 4, 1, 300), (278, 4, 1, 8), (279, 4, 1, 64))
    assert not decode(tiff(*strips, order=order, large=large), spec(8, 8)).any()
    tiles = ((322, 4, 1, 2**14), (323, 3, 1, 2**14), (324, 4, 1, 300), (325, 4, 1, 64))
    with pytest.raises(UndecodableImage, match="A tile of the TIFF is 16384 × 16384"):
        decode(tiff(*tiles, order=order, large=large), spec(8, 8))
    for tag in (273, 324):
        with pytest.raises(UndecodableImage, match="strips or tiles"):
            decode(tiff((tag, 4, MAX_PIECES + 1, 300), order=order, large=large), spec(8, 8))


def test_a_big_endian_bigtiff_is_refused_as_nothing_here_reads_it() -> None:
    with pytest.raises(UndecodableImage, match="little-endian"):
        decode(tiff((273, 4, 1, 300), order=">", large=True), spec(8, 8))


def test_a_tiff_in_tiles_is_decoded() -> None:
    image = photograph((200, 100), "L")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo={322: 64, 323: 64})
    np.testing.assert_array_equal(decode(buffer.getvalue(), spec(100, 200))[..., 0], np.asarray(image))
