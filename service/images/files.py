"""Reads what an image file says before its pixels are decoded: its format, its size, and whether it is one to decode.

A file of a few kilobytes can say much that costs a decoder time or memory and adds no pixel: comments by the
hundred thousand, repeated scans, tiles far larger than the picture. Such parts are left out where that is allowed,
and the file is refused where it is not.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Final, Literal

from PIL import Image

from service.images.avif import decoded_pixels
from service.images.errors import EmptyImage, ImageTooLarge, UndecodableImage, UnknownFormat

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

MAX_PIXELS: Final = 25_000_000
MAX_PIXELS_COPIED: Final = 16_000_000
"""A WEBP or AVIF may have so many: Pillow copies them at once and holds the interpreter for it, some 40 ms."""
MAX_PIXELS_BESIDE: Final = 2**22
"""Pixels in an AVIF's transparency, layers and parts, more than twice those of the picture that it says it is."""
MAX_SIDE: Final = 2**18
"""Pixels along one side: the weights of a resized side take memory, whatever the other side is."""
MAX_PIECES: Final = 2**16
"""Segments of a JPEG, chunks of a PNG or WEBP, pieces of a GIF's comments, strips or tiles of a TIFF.

Each costs microseconds in Python, and dozens of bytes in decoders."""
MAX_SEGMENTS: Final = 2**12
"""Segments of a JPEG, and bytes that fill up, among which the event loop looks for its size."""
MAX_EXIF_SEGMENTS: Final = 64
"""Segments of EXIF in a JPEG: Pillow joins them one by one, so that each costs as much as all before it."""
MAX_SCANS: Final = 1000
SCANS_OF_LARGEST: Final = 32
"""Scans of a JPEG that has as many pixels as are allowed; each goes over all of them. Encoders write ten."""
MAX_TILE_PIXELS: Final = 2**22
"""One tile of a TIFF is decoded as a whole, however small the picture is."""

EXIF: Final = b"Exif\x00\x00"
"""The beginning of a segment that holds EXIF."""

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Starts of frames, of whatever kind; the three others define tables, or are reserved."""
_PROGRESSIVE, _START_OF_SCAN, _END, _APP1 = 0xC2, 0xDA, 0xD9, 0xE1
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
_WITHOUT_LENGTH_TO_PILLOW = _WITHOUT_LENGTH | {0x00, 0xC8, 0xD9} | frozenset(range(0xF0, 0xFE))
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_USED = frozenset({b"tRNS", b"eXIf"})
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_TIFF_PIECES = frozenset({273, 324})
"""StripOffsets and TileOffsets."""
_TIFF_TILE = (322, 323)
"""TileWidth and TileLength."""
_TIFF_SIZES = {1: 1, 3: 2, 4: 4}
"""Bytes of a number by its type."""


def signature(data: bytes) -> str | None:
    """The format that the first bytes announce (one of `FORMATS`), or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if any(brand in _AVIF_BRANDS for brand in _brands(data)):
        return "AVIF"
    return None


def known_format(data: bytes) -> str:
    """The format, one of `FORMATS`.

    Raises:
        EmptyImage, UnknownFormat: there is none.
    """
    if not data:
        raise EmptyImage("There are no bytes where an image should be.")
    kind = signature(data)
    if kind is None:
        if not _HEIC_BRANDS.isdisjoint(_brands(data)):
            raise UnknownFormat(f"The image is HEIC (HEIF), which is not decoded; {', '.join(FORMATS)} are.")
        raise UnknownFormat(f"The bytes begin like none of {', '.join(FORMATS)}.")
    return kind


def _brands(data: bytes) -> tuple[bytes, ...]:
    """The major brand of an ISO base media file (AVIF, HEIC, MP4), and those that it is compatible with."""
    if data[4:8] != b"ftyp":
        return ()
    end = min(int.from_bytes(data[:4], "big"), len(data), 1024)
    return (data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4)))


def quick_pixel_count(data: bytes) -> int | None:
    """Pixels by the header of a JPEG or PNG, in microseconds; None for anything else or odd."""
    size = _quick_size(data)
    return None if size is None else size[0] * size[1]


def _quick_size(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_size(data)
    if data.startswith(_PNG_SIGNATURE) and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by the first start-of-frame segment (ITU-T T.81, B.2); None where there is none near.

    Not by the decoder's library, which gives the interpreter away meanwhile: a busy event loop waits long for it.
    """
    start = 2
    for _ in range(MAX_SEGMENTS):
        if start + 9 > len(data) or data[start] != 0xFF:
            break
        marker = data[start + 1]
        if marker in _FRAME_MARKERS:
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        # 0xFF before a marker only fills up
        start += 1 if marker == 0xFF else 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return None


def pixel_count(data: bytes, max_pixels: int = MAX_PIXELS) -> int:
    """Pixels by the header; nothing is decoded.

    Raises:
        ImageError: empty, of no known format, without a readable header, or over `max_pixels` or `MAX_SIDE`.
    """
    kind = known_format(data)
    if kind in ("WEBP", "AVIF"):
        max_pixels = min(max_pixels, MAX_PIXELS_COPIED)
    size = _quick_size(data)
    if size is None:
        with open_image(data, kind) as image:
            size = image.size
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(f"The image has {width * height} pixels; the limit is {max_pixels}.")
    if max(size) > MAX_SIDE:
        raise ImageTooLarge(f"The image is {width} × {height} pixels; a side may have {MAX_SIDE}.")
    return width * height


def open_image(data: bytes, kind: str) -> Image.Image:
    """The image with its header read, and nothing decoded.

    Raises:
        ImageError: Pillow cannot read the header, it says two sizes, or the file would cost far more than its pixels.
    """
    if kind == "JPEG":
        check_segments(data)
    elif kind == "PNG":
        data = _png_without_comments(data)
    elif kind == "GIF":
        _check_comments_of_gif(data)
    elif kind == "WEBP":
        _check_chunks_of_webp(data)
    elif kind == "AVIF":
        data = _with_a_brand_that_pillow_knows(data)
    elif kind == "TIFF":
        _check_tiles_of_tiff(data)
    pixels = decoded_pixels(data) if kind == "AVIF" else 0
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLarge("The image has far too many pixels.") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them raise
        raise UndecodableImage(f"The {kind} header cannot be read.") from error
    if (quick_size := _quick_size(data)) not in (None, image.size):
        raise UndecodableImage(f"The {kind} says two sizes, {quick_size} and {image.size}.")
    if pixels > (most := MAX_PIXELS_BESIDE + 2 * image.width * image.height):
        raise ImageTooLarge(f"The AVIF says {image.size}, and has {pixels} pixels; {most} are decoded at most.")
    return image


# ------------------------------------------------ JPEG


def check_segments(data: bytes) -> None:
    """Raises UndecodableImage for a JPEG of more segments, or components of a frame, than decoders list in a moment."""
    position, pieces, of_exif = 2, 0, 0
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        marker = data[position + 1]
        if marker == _START_OF_SCAN:
            return
        pieces += 1
        if marker == 0xFF:
            position += 1
        elif marker in _WITHOUT_LENGTH_TO_PILLOW:
            position += 2
        else:
            length = int.from_bytes(data[position + 2 : position + 4], "big")
            pieces += length // 3 if marker in _FRAME_MARKERS else 0
            of_exif += marker == _APP1 and data.startswith(EXIF, position + 4)
            position += 2 + max(2, length)
        if pieces > MAX_PIECES:
            raise UndecodableImage(f"The JPEG has more than {MAX_PIECES} segments and components.")
        if of_exif > MAX_EXIF_SEGMENTS:
            raise UndecodableImage(f"The JPEG has more than {MAX_EXIF_SEGMENTS} segments of EXIF.")


def check_scans(data: bytes, max_pixels: int = MAX_PIXELS) -> None:
    """Raises UndecodableImage for a JPEG that goes over its pixels more often than any encoder lets it."""
    found = data.count(b"\xff\xda")  # thumbnails and metadata count too: where there are many, look closer
    if found <= SCANS_OF_LARGEST:
        return
    pixels = quick_pixel_count(data) or 1
    limit = min(MAX_SCANS, max(SCANS_OF_LARGEST, SCANS_OF_LARGEST * max_pixels // pixels))
    if found <= limit:
        return
    if sum(marker == _START_OF_SCAN for marker, _, _ in _segments(data)) > limit:
        raise UndecodableImage(f"The JPEG has more than {limit} scans.")


def with_end_marker(data: bytes) -> bytes | None:
    """A JPEG whose end marker is missing, with it; None where that is not all that is missing, by its scans."""
    if data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda"):
        return None
    segments = list(_segments(data))
    if any(marker == _PROGRESSIVE for marker, _, _ in segments) and not _all_coefficients_are_there(data, segments):
        return None
    return data + bytes((0xFF, _END))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of every segment that has some; the picture's own, not a thumbnail's."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == _END:
            return
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
            yield marker, position + 4, end
            position = end
            if marker == _START_OF_SCAN:
                following = _NEXT_MARKER.search(data, position)
                position = following.start() if following else len(data)


def _all_coefficients_are_there(data: bytes, segments: list[tuple[int, int, int]]) -> bool:
    """True if a progressive JPEG has every coefficient of every component, down to its last bit (T.81, G.1.1.1)."""
    components: set[int] = set()
    missing_bits: dict[tuple[int, int], int] = {}
    for marker, start, end in segments:
        content = data[start:end]
        if marker == _PROGRESSIVE:
            components.update(content[6::3])
        elif marker == _START_OF_SCAN and len(content) >= 4:
            first, last, approximation = content[-3:]
            for component in content[1:-3:2]:
                for coefficient in range(first, min(last, 63) + 1):
                    missing_bits[component, coefficient] = approximation & 15
    return all(missing_bits.get((component, k)) == 0 for component in components for k in range(64))


# ------------------------------------------------ the other formats


def _png_without_comments(data: bytes) -> bytes:
    """The chunks that pixels need; of the others, those that say how they are shown, if their checksum is right.

    Browsers leave out an ancillary chunk whose checksum is wrong, too.
    """
    kept, begun, position, pieces = [], 0, 8, 0
    while position + 8 <= len(data):
        name = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        pieces += 1
        if pieces > MAX_PIECES:
            raise UndecodableImage(f"The PNG has more than {MAX_PIECES} chunks.")
        ancillary = name not in _PNG_PIXELS and name.isalpha() and name[0] >= 0x61
        if ancillary and not (name in _PNG_USED and _checksum_is_right(data, position, end)):
            kept.append(data[begun:position])
            begun = end
        elif name == b"IEND" or not name.isalpha():
            break
        position = end
    return b"".join([*kept, data[begun:]]) if kept else data


def _checksum_is_right(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _check_comments_of_gif(data: bytes) -> None:
    """Raises UndecodableImage for one with more pieces of comments than are read in a moment."""
    flags = data[10] if len(data) > 10 else 0
    position, pieces = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while data[position : position + 1] == b"!":
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            pieces += 1
            if pieces > MAX_PIECES:
                raise UndecodableImage(f"The GIF's comments are in more than {MAX_PIECES} pieces.")
        position += 1


def _check_chunks_of_webp(data: bytes) -> None:
    """Raises UndecodableImage for one of more chunks, or pictures of an animation, than are listed in a moment."""
    position, pieces, end = 12, 0, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position < end:
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + (size & 1)
        pieces += 1
        if pieces > MAX_PIECES:
            raise UndecodableImage(f"The WEBP has more than {MAX_PIECES} chunks.")


def _with_a_brand_that_pillow_knows(data: bytes) -> bytes:
    """Pillow looks at the major brand only; the format asks for one brand of AVIF anywhere among them (AVIF, 6)."""
    brands = _brands(data)
    if brands[0] in (*_AVIF_BRANDS, b"mif1", b"msf1"):
        return data
    brand = next(brand for brand in _AVIF_BRANDS if brand in brands)
    return data[:8] + brand + data[12:]


def _check_tiles_of_tiff(data: bytes) -> None:
    """Raises UndecodableImage for more strips or tiles, or larger ones, than the pixels can need."""
    if data.startswith(b"MM\x00+"):
        raise UndecodableImage("A BigTIFF is decoded in little-endian order only.")
    entries = _tiff_entries(data)
    pieces = max([len(entries), *(count for tag, count, _ in entries if tag in _TIFF_PIECES)], default=0)
    if pieces > MAX_PIECES:
        raise UndecodableImage(f"The TIFF has more than {MAX_PIECES} strips or tiles.")
    width, length = (max([value for tag, _, value in entries if tag == side], default=0) for side in _TIFF_TILE)
    if width * length > MAX_TILE_PIXELS:
        raise UndecodableImage(f"A tile of the TIFF is {width} × {length}; at most {MAX_TILE_PIXELS} pixels are taken.")


def _tiff_entries(data: bytes) -> list[tuple[int, int, int]]:
    """Tag, count and (where it is one number, in its own place) value of every entry of the first directory."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    large = data.startswith(b"II+\x00")
    word, entry_size = (8, 20) if large else (4, 12)

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    directory = number(word, word)
    first = directory + (8 if large else 2)
    end = min(len(data), first + entry_size * min(number(directory, first - directory), MAX_PIECES + 1))
    return [
        (number(at, 2), number(at + 4, word), number(at + 4 + word, _TIFF_SIZES.get(number(at + 2, 2), word)))
        for at in range(first, end - entry_size + 1, entry_size)
    ]
