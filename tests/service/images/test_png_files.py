"""PNG files that are damaged outside their pixels, contradict themselves, or are made of too many pieces."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from service.images.errors import UndecodableImage
from service.images.limits import MAX_PIECES
from service.images.preprocess import decode
from tests.attacks.pictures import png, png_chunk, saved
from tests.service.images.pictures import photograph, spec

SPEC = spec(40, 48)


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
    plain = saved(photograph((48, 40)), "PNG")
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
    data = saved(photograph((48, 40)).convert("P"), "PNG")
    assert decode(data, SPEC).shape == (40, 48, 3)
    with pytest.raises(UndecodableImage):
        decode(with_checksum_off(data, name), SPEC)


def test_a_png_without_its_end_is_decoded_and_one_cut_within_its_pixels_is_not() -> None:
    data = saved(photograph((48, 40)), "PNG")
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


def test_text_is_never_unpacked() -> None:
    bomb = b"".join(png_chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(100))
    assert decode(png(2, 2, data=bytes(14), extra=bomb), spec(2, 2)).tolist() == np.zeros((2, 2, 3)).tolist()


def test_a_png_in_too_many_pieces_is_refused() -> None:
    for piece in (png_chunk(b"IDAT", b""), png_chunk(b"teSt", b"")):
        with pytest.raises(UndecodableImage, match="chunks"):
            decode(png(2, 2, data=bytes(14), extra=piece * MAX_PIECES), spec(2, 2))
