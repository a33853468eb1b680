"""Pictures of extreme shape, and files made of parts that cost far more than their pixels."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable

from PIL import Image

from service.images.limits import MAX_SIDE
from tests.attacks import avif
from tests.attacks.pictures import limit, png, png_chunk, saved
from tests.attacks.wire import Attack, Target, post, predict

Messages = Callable[[Target], Iterable[bytes]]


def resized(kind: str, width: int, height: int, mode: str = "L", **options: object) -> Messages:
    """Pictures of a few rows or a few columns, sent to the model whose pictures are resized and cropped."""

    def messages(target: Target) -> Iterable[bytes]:
        yield post(f"/predict?model={target.resizing}", saved(Image.new(mode, (width, height)), kind, **options))

    return messages


def up_to_the_body(start: bytes, part: bytes, end: bytes) -> Messages:
    """Fill the largest body with copies of `part`."""

    def messages(target: Target) -> Iterable[bytes]:
        yield post("/predict", start + part * ((target.body - len(start) - len(end)) // len(part)) + end)

    return messages


def whole(kind: str, mode: str, *, end: int = 0, **options: object) -> Messages:
    """The largest allowed picture without its last `end` bytes."""

    def messages(target: Target) -> Iterable[bytes]:
        side = int(limit(target, kind) ** 0.5)
        data = saved(Image.new(mode, (side, side)), kind, **options)
        yield post("/predict", data[: len(data) - end])

    return messages


def transparent_png(colour: int) -> Messages:
    """The largest allowed picture of 16 bits, in which every pixel has the transparent colour."""
    bytes_per_pixel = {0: 2, 2: 6}[colour]

    def messages(target: Target) -> Iterable[bytes]:
        side = int(target.pixels**0.5)
        rows, transparent = bytes(side * (1 + side * bytes_per_pixel)), png_chunk(b"tRNS", bytes(bytes_per_pixel))
        yield post("/predict", png(side, side, bits=16, colour=colour, data=rows, extra=transparent))

    return messages


def animated_webp(target: Target) -> Iterable[bytes]:
    """An animation on the largest allowed canvas."""
    side = int(limit(target, "WEBP") ** 0.5)
    frames = [Image.new("RGBA", (side, side), (shade, 0, 0, 128)) for shade in (0, 255)]
    yield post("/predict", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, method=0))


def webp_of_chunks(target: Target) -> Iterable[bytes]:
    """Fill a body with empty chunks before a picture of 8 × 8 pixels."""
    picture = saved(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    flags = b"VP8X" + struct.pack("<II", 10, 0) + b"\7\0\0" * 2
    chunks = flags + (b"teSt" + bytes(4)) * ((target.body - 100) // 8) + picture
    yield post("/predict", b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)


def gif_of_one_pixel(target: Target) -> Iterable[bytes]:
    """A frame of one pixel on the largest allowed screen."""
    side = int(target.pixels**0.5)
    data = saved(Image.new("P", (1, 1)), "GIF")
    yield post("/predict", data[:6] + struct.pack("<HH", side, side) + data[10:])


def tiff(*tags: tuple[int, int, int], content: bytes = b"") -> bytes:
    """A little-endian TIFF of 8 × 8 grey pixels with further tags: number, count and value of four bytes each."""
    own = ((256, 1, 8), (257, 1, 8), (258, 1, 8), (262, 1, 1), (277, 1, 1))
    entries = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in sorted((*own, *tags)))
    return b"II*\0" + struct.pack("<IH", 8, len(own + tags)) + entries + bytes(4) + content


def many_tiles(target: Target) -> Iterable[bytes]:
    """Tiles of one pixel each, as many as the body holds, all of which point to the same place."""
    count = target.body // 8 - 100
    start = len(tiff(*[(0, 0, 0)] * 5))
    tags = ((259, 1, 1), (322, 1, 1), (323, 1, 1), (324, count, start), (325, count, start + 4 * count))
    yield post("/predict", tiff(*tags, content=struct.pack("<I", 8) * count + struct.pack("<I", 1) * count))


def file_type(major: bytes, *others: bytes) -> bytes:
    return struct.pack(">I", 16 + 4 * len(others)) + b"ftyp" + major + bytes(4) + b"".join(others) + bytes(100)


JPEG = saved(Image.new("RGB", (8, 8)), "JPEG")
EXIF = Image.Exif()
EXIF[274] = 6
TURNED, SCAN = re.split(rb"(?=\xff\xda)", saved(Image.new("RGB", (8, 8)), "JPEG", exif=EXIF))
EXIF_SEGMENT = b"\xff\xe1" + struct.pack(">H", 258) + b"Exif\0\0" + bytes(250)
PROGRESSIVE = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
PNG = png(2, 2, data=bytes(14))
LARGER = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
GIF = saved(Image.new("1", (8, 8)), "GIF")
GIF_TABLE = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)
TEXTS = b"".join(png_chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(60))
WRONG_CHECKSUM = struct.pack(">I", 4) + b"tEXt" + b"k\0ok" + bytes(4)
HUGE_TILES = tiff((259, 1, 8), (322, 1, 2**16), (323, 1, 2**16), (324, 1, 200), (325, 1, 50), content=bytes(200))

ATTACKS = (
    Attack("a PNG of 1 × 10,000 to be resized", (200,), resized("PNG", 1, 10_000)),
    Attack("a PNG of 10,000 × 1 to be resized", (200,), resized("PNG", 10_000, 1)),
    Attack("a PNG of 1 × 65,535 to be resized", (200,), resized("PNG", 1, 65_535)),
    Attack("a PNG of 65,535 × 1 to be resized", (200,), resized("PNG", 65_535, 1)),
    Attack("a JPEG of 1 × 65,500 to be resized", (200,), resized("JPEG", 1, 65_500)),
    Attack("a WEBP of 16,383 × 1 to be resized", (200,), resized("WEBP", 16_383, 1)),
    Attack("a GIF of 1 × 65,535 to be resized", (200,), resized("GIF", 1, 65_535)),
    Attack("a BMP as long as may be, to be resized", (200,), resized("BMP", MAX_SIDE, 2, "1")),
    Attack(
        "a TIFF as long as may be, to be resized", (200,),
        resized("TIFF", 3, MAX_SIDE, compression="tiff_adobe_deflate"),
    ),
    Attack("an AVIF of 32,767 × 1 to be resized", (200,), resized("AVIF", 32_767, 1, speed=10)),
    Attack("a PNG with a side too long", (413,), resized("PNG", 1, MAX_SIDE + 1)),
    Attack("a JPEG of scans without end", (422,), up_to_the_body(PROGRESSIVE[:-2], LAST_SCAN, b"\xff\xd9")),
    Attack("a JPEG of empty segments", (200, 422), up_to_the_body(JPEG[:2], b"\xff\xe2\0\2", JPEG[2:])),
    Attack("a turned JPEG of comments", (200, 422), up_to_the_body(TURNED, b"\xff\xfe\0\2", SCAN)),
    Attack("a turned JPEG of EXIF", (200, 422), up_to_the_body(TURNED, EXIF_SEGMENT, SCAN)),
    Attack("a JPEG that is filled up", (200, 422), up_to_the_body(JPEG[:2], b"\xff", JPEG[2:])),
    Attack("a JPEG without its end marker", (200,), predict(JPEG[:-2])),
    Attack("the largest JPEG, without its end marker", (200,), whole("JPEG", "RGB", end=2), decodes=True),
    Attack("the largest JPEG of four inks, without its end marker", (200,), whole("JPEG", "CMYK", end=2), decodes=True),
    Attack("the largest JPEG, cut", (422,), whole("JPEG", "RGB", end=30), decodes=True),
    Attack("a PNG of empty chunks", (200, 422), up_to_the_body(PNG[:33], png_chunk(b"teSt", b""), PNG[33:])),
    Attack("a PNG of empty pieces of pixels", (200, 422), up_to_the_body(PNG[:33], png_chunk(b"IDAT", b""), PNG[33:])),
    Attack("a PNG with 60 MB of text in 60 chunks", (200,), predict(PNG[:33] + TEXTS + PNG[33:])),
    Attack("a PNG with a wrong checksum in its text", (200,), predict(PNG[:33] + WRONG_CHECKSUM + PNG[33:])),
    Attack("a PNG of 2 × 2 with a second header of 9000 × 9000", (422,), predict(PNG[:33] + LARGER + PNG[33:])),
    Attack("the largest grey PNG with a transparent level", (200,), transparent_png(0), decodes=True),
    Attack("the largest PNG of 16 bits with a transparent colour", (200,), transparent_png(2), decodes=True),
    Attack(
        "a GIF of comments in pieces of one byte", (200, 422),
        up_to_the_body(GIF[:GIF_TABLE] + b"!\xfe", b"\x01c", b"\0" + GIF[GIF_TABLE:]),
    ),
    Attack("a GIF of one pixel on the largest screen", (200,), gif_of_one_pixel, decodes=True),
    Attack("the largest animated WEBP", (200,), animated_webp, decodes=True),
    Attack("a WEBP of empty chunks", (200, 422), webp_of_chunks),
    Attack("the largest AVIF with transparency", (200,), whole("AVIF", "RGBA", speed=10), decodes=True),
    Attack("the largest float TIFF", (200,), whole("TIFF", "F", compression="packbits"), decodes=True),
    Attack("the largest TIFF of 32 bits", (200,), whole("TIFF", "I", compression="packbits"), decodes=True),
    Attack("a TIFF of tiles of one pixel", (200, 422), many_tiles),
    Attack("a TIFF of 8 × 8 in a tile of 65536 × 65536", (422,), predict(HUGE_TILES)),
    Attack("a HEIC", (415,), predict(file_type(b"mif1", b"heic"))),
    Attack("a HEIC by its major brand", (415,), predict(file_type(b"heic", b"mif1"))),
    Attack("an AVIF of another brand with nothing in it", (422,), predict(file_type(b"mif1", b"avif"))),
    *avif.ATTACKS,
)  # fmt: skip
