"""Structure of PNG, GIF, WEBP and TIFF files: parts that cost a decoder much and add no pixel.

Such parts are left out where the format allows it; where it does not, the file is refused.
"""

from __future__ import annotations

import zlib
from typing import Final, Literal

from service.images.errors import UndecodableImage
from service.images.limits import MAX_PIECES

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MAX_TILE_PIXELS: Final = 2**22
"""Most pixels of one tile of a TIFF. A tile is decoded as a whole, however small the picture is."""

_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_USED = frozenset({b"tRNS", b"eXIf"})
_TIFF_STRIP_OFFSETS, _TIFF_TILE_OFFSETS, _TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 273, 324, 322, 323
_TIFF_BYTES_OF_TYPE = {1: 1, 3: 2, 4: 4}


def png_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the header chunk; None if it is not where it belongs."""
    if data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return None


def png_without_comments(data: bytes) -> bytes:
    """Return the PNG without the chunks that say nothing of its pixels or of how they are shown.

    Transparency or EXIF with a wrong checksum is left out too, as browsers do.

    Raises:
        UndecodableImage: there are more than `MAX_PIECES` chunks.
    """
    kept, begun, position, pieces = [], 0, 8, 0
    while position + 8 <= len(data):
        name = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        pieces += 1
        if pieces > MAX_PIECES:
            raise UndecodableImage(f"The PNG has more than {MAX_PIECES} chunks.")
        # The case of a chunk's first letter says whether decoders may leave it out.
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


def check_gif_comments(data: bytes) -> None:
    """Refuse a GIF whose comments are in more pieces than can be read in a moment.

    Raises:
        UndecodableImage: there are more than `MAX_PIECES`.
    """
    flags = data[10] if len(data) > 10 else 0
    colour_table = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    position, pieces = 13 + colour_table, 0
    while data[position : position + 1] == b"!":
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            pieces += 1
            if pieces > MAX_PIECES:
                raise UndecodableImage(f"The GIF's comments are in more than {MAX_PIECES} pieces.")
        position += 1


def check_webp_chunks(data: bytes) -> None:
    """Refuse a WEBP with more chunks, such as pictures of an animation, than can be listed in a moment.

    Raises:
        UndecodableImage: there are more than `MAX_PIECES`.
    """
    position, pieces, end = 12, 0, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position < end:
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + (size & 1)
        pieces += 1
        if pieces > MAX_PIECES:
            raise UndecodableImage(f"The WEBP has more than {MAX_PIECES} chunks.")


def check_tiff_tiles(data: bytes) -> None:
    """Refuse a TIFF with more strips or tiles, or larger ones, than its pixels can need.

    Raises:
        UndecodableImage: there are more than `MAX_PIECES`, one has more than `MAX_TILE_PIXELS`, or the file is a
            BigTIFF in big-endian order.
    """
    if data.startswith(b"MM\x00+"):
        raise UndecodableImage("A BigTIFF is decoded in little-endian order only.")
    entries = _tiff_entries(data)
    offsets = (_TIFF_STRIP_OFFSETS, _TIFF_TILE_OFFSETS)
    pieces = max([len(entries), *(count for tag, count, _ in entries if tag in offsets)], default=0)
    if pieces > MAX_PIECES:
        raise UndecodableImage(f"The TIFF has more than {MAX_PIECES} strips or tiles.")
    width, length = (
        max([value for tag, _, value in entries if tag == side], default=0)
        for side in (_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH)
    )
    if width * length > MAX_TILE_PIXELS:
        raise UndecodableImage(
            f"A tile of the TIFF is {width} × {length} pixels; at most {MAX_TILE_PIXELS} are decoded."
        )


def _tiff_entries(data: bytes) -> list[tuple[int, int, int]]:
    """Return tag, count and value of every entry of the first directory.

    The value is right only where it is one number, which then stands in the entry itself.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    large = data.startswith(b"II+\x00")
    word, entry_size = (8, 20) if large else (4, 12)

    def read(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], order)

    directory = read(word, word)
    first = directory + (8 if large else 2)
    end = min(len(data), first + entry_size * min(read(directory, first - directory), MAX_PIECES + 1))
    return [
        (read(at, 2), read(at + 4, word), read(at + 4 + word, _TIFF_BYTES_OF_TYPE.get(read(at + 2, 2), word)))
        for at in range(first, end - entry_size + 1, entry_size)
    ]
