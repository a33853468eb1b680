"""Files that are no pictures, broken ones, and small files that would be very large pictures."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable

from PIL import Image

from service.images.limits import MAX_PIXELS_COPIED
from tests.attacks.wire import Attack, Target, post, predict

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, *, bits: int = 8, colour: int = 2, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG whose header says width × height, whatever follows."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def jpeg_that_claims(width: int, height: int) -> bytes:
    """A JPEG of 48 × 40 pixels with another size in its header."""
    data = bytearray(saved(Image.effect_noise((48, 40), 40).convert("RGB"), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def limit(target: Target, kind: str) -> int:
    """Return how many pixels a picture of that kind may have."""
    return min(target.pixels, MAX_PIXELS_COPIED) if kind in ("WEBP", "AVIF") else target.pixels


def too_large(kind: str) -> Callable[[Target], Iterable[bytes]]:
    """A picture with one row of pixels too many, all black."""

    def messages(target: Target) -> Iterable[bytes]:
        width = min(limit(target, kind), 2000)
        return [post("/predict", saved(Image.new("L", (width, limit(target, kind) // width + 1)), kind))]

    return messages


def largest(kind: str, mode: str, **options: object) -> Callable[[Target], Iterable[bytes]]:
    """A black picture of as many pixels as are allowed: a few kilobytes that have to be decoded."""

    def messages(target: Target) -> Iterable[bytes]:
        side = int(limit(target, kind) ** 0.5)
        return [post("/predict", saved(Image.new(mode, (side, side)), kind, **options))]

    return messages


def animation(target: Target) -> Iterable[bytes]:
    side = int((target.pixels / 100) ** 0.5)
    frames = [Image.new("P", (side, side), shade) for shade in range(100)]
    return [post("/predict", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))]


BMP = b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
ZTXT = png_chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(50_000_000)))

ATTACKS = (
    *(Attack(f"{kind} with a row of pixels too many", (413,), too_large(kind)) for kind in KINDS),
    Attack("the largest PNG of one bit", (200,), largest("PNG", "1"), decodes=True),
    Attack("the largest PNG in colour", (200,), largest("PNG", "RGB"), decodes=True),
    Attack("the largest PNG with transparency", (200,), largest("PNG", "RGBA"), decodes=True),
    Attack("the largest PNG of 16 bits", (200,), largest("PNG", "I;16"), decodes=True),
    Attack("the largest JPEG", (200,), largest("JPEG", "RGB"), decodes=True),
    Attack("the largest progressive JPEG", (200,), largest("JPEG", "RGB", progressive=True), decodes=True),
    Attack("the largest JPEG of four inks", (200,), largest("JPEG", "CMYK"), decodes=True),
    Attack("the largest lossless WEBP", (200,), largest("WEBP", "RGB", lossless=True, method=0), decodes=True),
    Attack("the largest AVIF", (200,), largest("AVIF", "RGB", speed=10), decodes=True),
    Attack("the largest GIF", (200,), largest("GIF", "P"), decodes=True),
    Attack("the largest TIFF of packed zeros", (200,), largest("TIFF", "RGB", compression="packbits"), decodes=True),
    Attack("an animation of a hundred frames", (200,), animation, decodes=True),
    Attack("a PNG of 144 megapixels in its header", (413,), predict(png(12_000, 12_000))),
    Attack("a PNG of 2^31 × 2^31", (413,), predict(png(2**31 - 1, 2**31 - 1))),
    Attack("a PNG without pixels", (422,), predict(png(0, 0))),
    Attack("a PNG with no data", (422,), predict(png(900, 900))),
    Attack("a PNG with far more data than pixels", (200, 422), predict(png(2, 2, data=bytes(5_000_000)))),
    Attack("a PNG with 50 MB of text, compressed", (200, 422), predict(png(2, 2, data=bytes(14), extra=ZTXT))),
    Attack("a PNG of three bits", (422,), predict(png(8, 8, bits=3, data=bytes(1000)))),
    Attack("a JPEG that claims 65535 × 65535", (413,), predict(jpeg_that_claims(65535, 65535))),
    Attack("a JPEG that claims more than it has", (200, 422), predict(jpeg_that_claims(900, 900)), decodes=True),
    Attack("a JPEG signature alone", (422,), predict(b"\xff\xd8\xff")),
    Attack("a GIF of 65535 × 65535", (413, 422), predict(b"GIF89a\xff\xff\xff\xff\x00\x00\x00," + bytes(20))),
    Attack("a BMP of 2^31 pixels a side", (413, 422), predict(BMP)),
    Attack("a TIFF that points into itself", (422,), predict(b"II*\x00\x08\x00\x00\x00" + b"\xff" * 100)),
    Attack("a WEBP with no chunk", (422,), predict(b"RIFF\x04\x00\x00\x00WEBP")),
    Attack("an AVIF with no box", (422,), predict(b"\x00\x00\x00\x1cftypavif" + bytes(20))),
    Attack("a PDF", (415,), predict(b"%PDF-1.7\n%\xe2\xe3")),
    Attack("a zip", (415,), predict(b"PK\x03\x04" + bytes(100))),
    Attack("an ELF", (415,), predict(b"\x7fELF" + bytes(100))),
    Attack("an SVG", (415,), predict(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
    Attack("an EPS, which Pillow would hand to Ghostscript", (415,), predict(b"%!PS-Adobe-3.0 EPSF-3.0\n")),
    Attack("one byte", (415,), predict(b"\xff")),
)
