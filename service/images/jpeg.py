"""Structure of a JPEG file (ITU-T T.81, annex B): its size, its segments, its scans and its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from service.images.errors import UndecodableImage
from service.images.limits import MAX_PIECES, MAX_PIXELS

JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
EXIF: Final = b"Exif\x00\x00"
"""First bytes of a segment that holds EXIF."""

MAX_SEGMENTS: Final = 2**12
"""Most segments and fill bytes among which the event loop looks for the size."""
MAX_EXIF_SEGMENTS: Final = 64
"""Most segments of EXIF. Pillow joins them one by one, so that each costs as much as all before it."""
MAX_SCANS: Final = 1000
SCANS_OF_LARGEST: Final = 32
"""Most scans of an image with as many pixels as are allowed. Each scan goes over all pixels; encoders write ten."""

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame. The three others in this range define tables, or are reserved."""
_PROGRESSIVE, _START_OF_SCAN, _END, _APP1 = 0xC2, 0xDA, 0xD9, 0xE1
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
_WITHOUT_LENGTH_TO_PILLOW = _WITHOUT_LENGTH | {0x00, 0xC8, 0xD9} | frozenset(range(0xF0, 0xFE))
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the first start-of-frame segment; None if there is none near the beginning.

    simplejpeg could tell them too, but it releases the interpreter meanwhile, and a busy event loop then waits long
    to get it back.
    """
    start = 2
    for _ in range(MAX_SEGMENTS):
        if start + 9 > len(data) or data[start] != 0xFF:
            break
        marker = data[start + 1]
        if marker in _FRAME_MARKERS:
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        # Any number of fill bytes 0xFF may stand before a marker.
        start += 1 if marker == 0xFF else 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return None


def check_segments(data: bytes) -> None:
    """Refuse a JPEG with more segments, or components of a frame, than a decoder can list in a moment.

    Segments are counted as Pillow counts them.

    Raises:
        UndecodableImage: there are more than `MAX_PIECES`, or more than `MAX_EXIF_SEGMENTS` of EXIF.
    """
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
    """Refuse a JPEG that goes over its pixels more often than any encoder makes it.

    Raises:
        UndecodableImage: it has too many scans for its size.
    """
    # Counting the bytes is quick, but also finds the scans of thumbnails. Only where there are many, look closer.
    found = data.count(b"\xff\xda")
    if found <= SCANS_OF_LARGEST:
        return
    width, height = jpeg_size(data) or (1, 1)
    limit = min(MAX_SCANS, max(SCANS_OF_LARGEST, SCANS_OF_LARGEST * max_pixels // (width * height or 1)))
    if found <= limit:
        return
    if sum(marker == _START_OF_SCAN for marker, _, _ in _segments(data)) > limit:
        raise UndecodableImage(f"The JPEG has more than {limit} scans.")


def with_end_marker(data: bytes) -> bytes | None:
    """Return a JPEG whose end marker is missing, completed with it.

    None if the marker is there, or if more than the marker is missing as far as the headers of the scans show.
    """
    if data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda"):
        return None
    segments = list(_segments(data))
    if any(marker == _PROGRESSIVE for marker, _, _ in segments) and not _has_all_coefficients(data, segments):
        return None
    return data + bytes((0xFF, _END))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment with the start and the end of its content.

    Segments without content are left out. What is inside a segment, such as a thumbnail, is not looked at.
    """
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


def _has_all_coefficients(data: bytes, segments: list[tuple[int, int, int]]) -> bool:
    """Check that a progressive JPEG has every coefficient of every component down to its last bit (T.81, G.1.1.1)."""
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
