"""AVIF files whose boxes and AV1 streams disagree about the size, and files made of far too many parts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from PIL import Image

from tests.attacks.pictures import saved
from tests.attacks.wire import Attack, Target, post

SIDE = 64
ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


def box(name: bytes, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I", 8 + len(content)) + name + content


def full_box(name: bytes, *contents: bytes, version: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24), *contents)


def size(width: int, height: int) -> bytes:
    """The property that says the size of an item."""
    return full_box(b"ispe", struct.pack(">II", width, height))


def reference(kind: bytes, item: int, *others: int) -> bytes:
    return box(kind, struct.pack(f">{2 + len(others)}H", item, len(others), *others))


def grid(columns: int, rows: int, width: int, height: int) -> bytes:
    """The content of an item that is put together from others."""
    return struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)


@cache
def coded(side: int) -> tuple[bytes, bytes]:
    """The AV1 stream of a black picture, and the property that describes it to a decoder."""
    data = saved(Image.new("L", (side, side)), "AVIF", speed=10)
    start, stream = data.index(b"av1C") - 4, data.index(b"mdat") + 4
    return data[stream:], data[start : start + int.from_bytes(data[start : start + 4], "big")]


def avif(
    items: Sequence[tuple[bytes, bytes, Sequence[bytes]]], *references: bytes, extents: int = 1, more: bytes = b""
) -> bytes:
    """A file of items (kind, content, properties), the first of which is the picture, each in so many extents."""
    properties = list(dict.fromkeys(each for _, _, own in items for each in own))
    numbers = range(1, len(items) + 1)
    kinds = [
        full_box(b"infe", struct.pack(">HH", item, 0), kind, b"\0", version=2)
        for item, (kind, _, _) in zip(numbers, items, strict=True)
    ]
    associations = [
        struct.pack(">HB", item, len(own)) + bytes(1 + properties.index(each) for each in own)
        for item, (_, _, own) in zip(numbers, items, strict=True)
    ]

    def head(end: int) -> bytes:
        places = b""
        for item, (_, content, _) in zip(numbers, items, strict=True):
            places += struct.pack(">HHH", item, 0, extents)
            step = -(-len(content) // extents)
            for start in range(0, step * extents, step):
                length = max(0, min(step, len(content) - start))
                places += struct.pack(">II", end + min(start, len(content)), length)
            end += len(content)
        return box(b"ftyp", b"avif", bytes(4), b"avif", b"mif1") + full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", 1)),
            full_box(b"iloc", b"\x44\0", struct.pack(">H", len(items)), places),
            full_box(b"iinf", struct.pack(">H", len(items)), *kinds),
            full_box(b"iref", *references),
            box(b"iprp", box(b"ipco", *properties), full_box(b"ipma", struct.pack(">I", len(items)), *associations)),
            more,
        )

    contents = b"".join(content for _, content, _ in items)
    return head(len(head(0)) + 8) + box(b"mdat", contents)


def picture(side: int, said: int = SIDE, extents: int = 1) -> bytes:
    """A stream of one size in a file that says another."""
    stream, configuration = coded(side)
    return avif([(b"av01", stream, (size(said, said), configuration))], extents=extents)


def with_alpha(side: int, said: int = SIDE) -> bytes:
    (colour, configuration), (alpha, of_alpha) = coded(SIDE), coded(side)
    own = (size(said, said), of_alpha, full_box(b"auxC", ALPHA))
    items = [(b"av01", colour, (size(SIDE, SIDE), configuration)), (b"av01", alpha, own)]
    return avif(items, reference(b"auxl", 2, 1))


def with_cells(side: int, said: int = SIDE, columns: int = 1) -> bytes:
    """A picture in cells, side by side."""
    stream, configuration = coded(side)
    cell = (b"av01", stream, (size(said, said), configuration))
    whole = (b"grid", grid(columns, 1, columns * SIDE, SIDE), (size(columns * SIDE, SIDE),))
    return avif([whole, *[cell] * columns], reference(b"dimg", 1, *range(2, 2 + columns)))


def with_two_sequences(side: int) -> bytes:
    (first, configuration), (second, _) = coded(SIDE), coded(side)
    return avif([(b"av01", first + second, (size(SIDE, SIDE), configuration))])


def animation(side: int, said: int = SIDE) -> bytes:
    """An image sequence whose track says another size than its stream has."""
    frames = [Image.new("L", (side, side), shade) for shade in (0, 255)]
    data = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    at = data.index(b"tkhd") + 4
    at += 88 if data[at] else 76
    return data[:at] + struct.pack(">II", said << 16, said << 16) + data[at + 8 :]


def of_empty_extents(items: int) -> bytes:
    """Items of 65,535 extents each, which take no byte of the file."""
    places = b"".join(struct.pack(">HHH", item, 0, 65_535) for item in range(2, items + 2))
    return _with(full_box(b"iloc", bytes(2), struct.pack(">H", items), places))


def of_references(items: int) -> bytes:
    """Items that are referred to and have nothing."""
    return _with(full_box(b"iref", reference(b"dimg", 65_535, *range(1, items + 1))))


def of_sample_kinds(kinds: int) -> bytes:
    table = full_box(b"stsd", struct.pack(">I", kinds), box(b"none") * kinds)
    tables = box(b"mdia", box(b"minf", box(b"stbl", table)))
    header = full_box(b"tkhd", bytes(72), struct.pack(">II", SIDE << 16, SIDE << 16))
    return box(b"ftyp", b"avis", bytes(4), b"avis") + box(b"moov", box(b"trak", header, tables))


def _with(part: bytes) -> bytes:
    handler = full_box(b"hdlr", bytes(4), b"pict", bytes(13))
    return box(b"ftyp", b"avif", bytes(4), b"avif", b"mif1") + full_box(b"meta", handler, part)


def far_larger(make: Callable[[int], bytes]) -> Callable[[Target], Iterable[bytes]]:
    """A file of a few kilobytes whose stream has nine times as many pixels as are allowed."""

    def messages(target: Target) -> Iterable[bytes]:
        yield post("/predict", make(3 * int(target.pixels**0.5)))

    return messages


def of_many(make: Callable[[int], bytes]) -> Callable[[Target], Iterable[bytes]]:
    """Sends as many parts as 60 kB hold."""

    def messages(target: Target) -> Iterable[bytes]:
        yield post("/predict", make(6000))

    return messages


def scaled(make: Callable[[int, int], bytes]) -> Callable[[int], bytes]:
    """A small stream that the file has scaled to a far larger size."""
    return lambda side: make(SIDE, side)


ATTACKS = (
    Attack("an AVIF that says 64 × 64 of a stream far larger", (413,), far_larger(picture)),
    Attack("an AVIF with transparency far larger than its colours", (413,), far_larger(with_alpha)),
    Attack("an AVIF with transparency scaled up", (413,), far_larger(scaled(with_alpha))),
    Attack("an AVIF of cells far larger than it", (413,), far_larger(with_cells)),
    Attack("an AVIF of cells scaled up", (413,), far_larger(scaled(with_cells))),
    Attack("an AVIF whose stream grows", (413,), far_larger(with_two_sequences)),
    Attack("an animated AVIF whose track says 64 × 64", (413,), far_larger(animation)),
    Attack("an AVIF of items in empty pieces", (422,), of_many(of_empty_extents)),
    Attack("an AVIF of references", (422,), of_many(of_references)),
    Attack("an AVIF of kinds of samples", (422,), of_many(of_sample_kinds)),
)
