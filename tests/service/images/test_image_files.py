"""Files that are damaged outside their pixels, have another brand, or are made of far more parts than pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.images.errors import UndecodableImage, UnknownFormat
from service.images.files import quick_pixel_count, signature
from service.images.jpeg import MAX_EXIF_SEGMENTS, MAX_SEGMENTS, check_scans
from service.images.limits import MAX_PIECES
from service.images.preprocess import decode
from tests.attacks.pictures import png, png_chunk
from tests.service.images.test_images import encoded, photograph, spec

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
    return encoded(photograph((48, 40), mode), "JPEG", **options)


# ------------------------------------------------ JPEG


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
    thumbnail = encoded(photograph((16, 16)), "JPEG")
    data = encoded(photograph((48, 40)), "JPEG", exif=exif.tobytes() + thumbnail)
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
    data = encoded(Image.new("L", (side, side)), "JPEG", progressive=True)
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
    data = encoded(photograph((48, 40)), "JPEG", icc_profile=profile)
    assert data.count(b"\xff\xda") > 30_000
    np.testing.assert_array_equal(decode(data + profile, SPEC), decode(encoded(photograph((48, 40)), "JPEG"), SPEC))


def test_every_photograph_keeps_to_the_limit_of_scans() -> None:
    for path in (Path(__file__).parents[2] / "images").glob("*.jpg"):
        check_scans(path.read_bytes())


# ------------------------------------------------ PNG


def with_checksum_off(data: bytes, name: bytes) -> bytes:
    at = data.index(name)
    end = at + 4 + struct.unpack(">I", data[at - 4 : at])[0]
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


ANCILLARY = {
    b"tEXt": b"Comment\0made",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"made"),
    b"iTXt": b"Comment\0\0\0\0\0made",
    b"gAMA": struct.pack(">I", 45455),
    b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
    b"tIME": bytes(7),
    b"sRGB": b"\0",
    b"iCCP": b"p\0\0" + zlib.compress(b"no profile"),
    b"eXIf": b"II*\0" + bytes(20),
    b"acTL": struct.pack(">II", 1, 0),
    b"teSt": b"private",
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", ANCILLARY)
def test_an_ancillary_chunk_of_a_png_may_be_wrong(name: bytes, behind: bool) -> None:
    plain = encoded(photograph((48, 40)), "PNG")
    at = plain.index(b"IEND") - 4 if behind else 33
    data = plain[:at] + png_chunk(name, ANCILLARY[name]) + plain[at:]
    expected = decode(plain, SPEC)
    np.testing.assert_array_equal(decode(data, SPEC), expected)
    np.testing.assert_array_equal(decode(with_checksum_off(data, name), SPEC), expected)
    nonsense = plain[:at] + png_chunk(name, b"\xff") + plain[at:]
    np.testing.assert_array_equal(decode(nonsense, SPEC), expected)


def test_a_transparent_colour_with_a_wrong_checksum_is_left_out() -> None:
    data = png(1, 1, colour=0, data=b"\0\x07", extra=png_chunk(b"tRNS", b"\0\x07"))
    assert decode(data, spec(1, 1)).tolist() == [[[255] * 3]]
    assert decode(with_checksum_off(data, b"tRNS"), spec(1, 1)).tolist() == [[[7] * 3]]


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_critical_chunk_of_a_png_must_be_right(name: bytes) -> None:
    data = encoded(photograph((48, 40)).convert("P"), "PNG")
    assert decode(data, SPEC).shape == (40, 48, 3)
    with pytest.raises(UndecodableImage):
        decode(with_checksum_off(data, name), SPEC)


def test_a_png_without_its_end_is_decoded_and_one_cut_within_its_pixels_is_not() -> None:
    data = encoded(photograph((48, 40)), "PNG")
    whole = decode(data, SPEC)
    np.testing.assert_array_equal(decode(data[:-12], SPEC), whole)
    for end in range(8, len(data) - 200, 97):
        with pytest.raises(UndecodableImage):
            decode(data[:end], SPEC)


def test_a_png_that_says_two_sizes_is_refused() -> None:
    """Pillow uses the last one."""
    plain = png(8, 8, data=bytes(8 * 25))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    with pytest.raises(UndecodableImage, match="two sizes"):
        decode(plain[:33] + header + plain[33:], spec(8, 8))


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_that_says_two_sizes_is_refused(options: dict[str, Any]) -> None:
    small, large = (encoded(photograph(size), "JPEG", **options) for size in ((16, 16), (640, 480)))
    start = small.index(b"\xff\xc2" if options else b"\xff\xc0")
    frame = small[start : start + 2 + int.from_bytes(small[start + 2 : start + 4], "big")]
    with pytest.raises(UndecodableImage, match="two sizes"):
        decode(large[:2] + frame + large[2:], spec(8, 8))


def test_bytes_that_fill_up_before_a_segment_are_no_segment() -> None:
    plain = encoded(photograph((48, 40)), "JPEG")
    at = plain.index(b"\xff\xc0")
    data = plain[:at] + b"\xff" * 3 + plain[at:]
    assert quick_pixel_count(data) == 48 * 40
    np.testing.assert_array_equal(decode(data, SPEC), decode(plain, SPEC))


def test_the_size_of_a_jpeg_is_looked_for_among_so_many_segments() -> None:
    plain = encoded(photograph((48, 40)), "JPEG")
    own = plain[: plain.index(b"\xff\xc0")].count(b"\xff")
    for piece in (b"\xff\xfe\0\2", b"\xff"):
        for count, expected in ((MAX_SEGMENTS - own - 1, 48 * 40), (MAX_SEGMENTS, None)):
            data = plain[:2] + piece * count + plain[2:]
            assert quick_pixel_count(data) == expected
            np.testing.assert_array_equal(decode(data, SPEC), decode(plain, SPEC))


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
@pytest.mark.parametrize("piece", [b"\xff\xe2\0\2", b"\xff\xe2\0\3 ", b"\xff\xe2\0\2 "])
def test_a_jpeg_of_more_segments_than_are_listed_in_a_moment_is_refused(piece: bytes, mode: str) -> None:
    plain = encoded(photograph((48, 40), mode), "JPEG")
    np.testing.assert_array_equal(decode(plain[:2] + piece * 1000 + plain[2:], SPEC), decode(plain, SPEC))
    with pytest.raises(UndecodableImage, match="segments"):
        decode(plain[:2] + piece * (MAX_PIECES + 1) + plain[2:], SPEC)


def turned_jpeg(mode: str, more: bytes) -> bytes:
    """A JPEG to be turned by its EXIF, with `more` before its scan, behind where its size stands."""
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(photograph((40, 48), mode), "JPEG", exif=exif.tobytes())
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
    plain = encoded(photograph((48, 40)), "JPEG")
    np.testing.assert_array_equal(decode(plain + b"\xff\xe2\0\2" * (MAX_PIECES + 1), SPEC), decode(plain, SPEC))


def test_a_jpeg_of_more_components_than_are_listed_in_a_moment_is_refused() -> None:
    plain = encoded(photograph((48, 40), "CMYK"), "JPEG")
    at = plain.index(b"\xff\xc0")
    frame = plain[at:][:4].replace(plain[at + 2 : at + 4], b"\xff\xff") + plain[at + 4 : at + 20]
    with pytest.raises(UndecodableImage, match="components"):
        decode(plain[:at] + frame.ljust(65_537, b"\1") * 4 + plain[at:], SPEC)


def test_text_is_never_unpacked() -> None:
    bomb = b"".join(png_chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(100))
    assert decode(png(2, 2, data=bytes(14), extra=bomb), spec(2, 2)).tolist() == np.zeros((2, 2, 3)).tolist()


def test_a_png_in_too_many_pieces_is_refused() -> None:
    for piece in (png_chunk(b"IDAT", b""), png_chunk(b"teSt", b"")):
        with pytest.raises(UndecodableImage, match="chunks"):
            decode(png(2, 2, data=bytes(14), extra=piece * MAX_PIECES), spec(2, 2))


# ------------------------------------------------ AVIF, GIF and TIFF


def branded(major: bytes, *others: bytes) -> bytes:
    """An AVIF of one colour whose file type box has these brands."""
    data = encoded(Image.new("RGB", (64, 48), (200, 30, 30)), "AVIF", quality=100)
    size = int.from_bytes(data[:4], "big")
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    box = struct.pack(">I", len(box) + 4) + box
    assert len(box) == size, "the offsets in the file hold for a box as long as the one that was there"
    return box + data[size:]


def test_avif_is_told_by_any_of_its_brands() -> None:
    original = encoded(Image.new("RGB", (64, 48)), "AVIF", quality=100)
    room = int.from_bytes(original[:4], "big") // 4 - 4
    for major, other in ((b"avif", b"mif1"), (b"mif1", b"avif"), (b"miaf", b"avif"), (b"MA1B", b"avif")):
        data = branded(major, other, *([b"miaf"] * (room - 1)))
        assert signature(data) == "AVIF"
        assert np.abs(decode(data, spec(48, 64)).astype(int) - (200, 30, 30)).max() <= 3


def test_an_animated_avif_shows_its_first_frame_under_either_brand() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=100)
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
    plain = encoded(photograph((48, 40)), "WEBP", exif=b"Exif\0\0II*\0" + bytes(20))
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
    plain = encoded(Image.new("RGB", (8, 8), "red").convert("P"), "GIF")
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
