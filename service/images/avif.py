"""Pixels that an AVIF makes its decoder hold, by the boxes of the file (ISO/IEC 14496-12 and 23008-12).

The size that the file announces is not what is decoded: each AV1 stream in it has a size of its own, and libavif
scales it to yet another. A file that can be read in two ways is refused, because libavif might read it in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from service.images.av1 import Bits, frames
from service.images.errors import UndecodableImage

MAX_PARTS: Final = 2**13
"""Most boxes, extents, references and properties of items together: libavif takes up to 2.4 kB for each."""
MAX_ITEMS: Final = 2**10
"""Most items: libavif searches all of them for each. A grid has at most 256, and as many for its transparency."""
MAX_SAMPLES: Final = 2**18
"""Most pictures of an animation: libavif lists them all, 48 bytes each, before it decodes the first."""
MAX_TABLE: Final = 2**20
"""Most bytes of a table of an animation's samples."""
LEAST_PIXELS: Final = 2**12
"""Pixels that a smaller frame counts for, because each frame costs some time."""

_UNIQUE = frozenset({b"iinf", b"iloc", b"iref", b"iprp", b"idat", b"grpl"})
_TABLES = frozenset({b"stsd", b"stco", b"co64", b"stsc", b"stsz", b"stts", b"stss"})
_NOTHING = memoryview(b"")


def decoded_pixels(data: bytes) -> int:
    """Return the most pixels that decoding the first picture can take, over all frames, layers and transparency.

    Raises:
        UndecodableImage: the boxes are broken, or so many that reading them costs much.
    """
    container = _Container(data)
    # libavif decodes the items or the tracks by the major brand; under any other brand, assume the worse.
    sources = {b"avif": container.items, b"avis": container.tracks}
    return sources.get(data[8:12], max(sources.values()))


def _require(condition: object, what: str) -> None:
    if not condition:
        raise UndecodableImage(f"The AVIF {what}.")


def _version(content: memoryview) -> int:
    return content[0] if content else 0


def _pixels(stream: memoryview, scaled: int) -> int:
    return max(scaled, sum(max(pixels, LEAST_PIXELS) for pixels in frames(stream)))


class _Container:
    """Pixels of all items of the file's `meta` box, and of the first samples of its tracks."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._parts = self.items = self.tracks = 0
        for name, content in self._boxes(self._data, outermost=True):
            if name == b"meta":
                self.items += self._meta(content)
            elif name == b"moov":
                self.tracks += sum(self._track(track) for kind, track in self._boxes(content) if kind == b"trak")

    def _count(self, parts: int) -> None:
        self._parts += parts
        _require(self._parts <= MAX_PARTS, f"is made of more than {MAX_PARTS} parts")

    def _boxes(self, data: memoryview, outermost: bool = False) -> Iterator[tuple[bytes, memoryview]]:
        """Yield name and content of every box; the outermost up to the first that is broken, where libavif stops."""
        position = 0
        while position < len(data):
            self._count(1)
            rest = data[position:]
            size, name, head = int.from_bytes(rest[:4], "big"), bytes(rest[4:8]), 8
            if size == 1:
                size, head = int.from_bytes(rest[8:16], "big"), 16
            if name == b"uuid":
                head += 16
            if size == 0 and outermost:
                size = len(rest)
            if not head <= size <= len(rest):
                _require(outermost, "has a box that does not fit into the one around it")
                return
            yield name, rest[head:size]
            position += size

    # ------------------------------------------------ items

    def _meta(self, content: memoryview) -> int:
        parts: dict[bytes, memoryview] = {}
        for name, part in self._boxes(content[4:]):
            if name in _UNIQUE:
                _require(name not in parts, "has two boxes where there may be one")
                parts[name] = part
        known, coded = self._item_kinds(parts.get(b"iinf", _NOTHING))
        streams = self._streams(parts.get(b"iloc", _NOTHING), parts.get(b"idat", _NOTHING))
        scaled = self._scaled_sizes(parts.get(b"iprp", _NOTHING))
        known.update(streams, scaled, self._references(parts.get(b"iref", _NOTHING)))
        _require(len(known) <= MAX_ITEMS, f"has more than {MAX_ITEMS} items")
        self._count(sum(1 for _ in self._boxes(parts.get(b"grpl", _NOTHING))))
        return sum(_pixels(streams[item], scaled.get(item, 0)) for item in coded & streams.keys())

    def _item_kinds(self, content: memoryview) -> tuple[set[int], set[int]]:
        """Return the identifiers of all items whose kind is given, and of those that are AV1 streams."""
        known, coded = set(), set()
        for _, entry in self._boxes(content[8 if _version(content) else 6 :]):
            fields = Bits(entry)
            version, _ = fields.bytes(1), fields.bytes(3)
            item, _ = fields.bytes(4 if version > 2 else 2), fields.bytes(2)
            known.add(item)
            if fields.bytes(4) == int.from_bytes(b"av01", "big"):
                coded.add(item)
        return known, coded

    def _references(self, content: memoryview) -> set[int]:
        """Return the identifiers of all items that refer to others or are referred to."""
        known, size = set(), 4 if _version(content) else 2
        for _, reference in self._boxes(content[4:]):
            fields = Bits(reference)
            known.add(fields.bytes(size))
            count = fields.bytes(2)
            self._count(count)
            known.update(fields.bytes(size) for _ in range(count))
        return known

    def _streams(self, content: memoryview, idat: memoryview) -> dict[int, memoryview]:
        """Return the bytes of every item whose place in the file is given."""
        streams: dict[int, memoryview] = {}
        copied = 0
        fields = Bits(content or bytes(8))
        version, _ = fields.bytes(1), fields.bytes(3)
        offset_size, length_size, base_size, index_size = (fields.take(4) for _ in range(4))
        for _ in range(fields.bytes(4 if version > 1 else 2)):
            item = fields.bytes(4 if version > 1 else 2)
            source = idat if version and fields.bytes(2) & 15 else self._data
            _, base, count = fields.bytes(2), fields.bytes(base_size), fields.bytes(2)
            self._count(1 + count)
            extents = []
            for _ in range(count):
                fields.bytes(index_size if version else 0)
                offset, length = base + fields.bytes(offset_size), fields.bytes(length_size)
                _require(offset + length <= len(source), "is cut short")
                extents.append(source[offset : offset + length])
            _require(item not in streams, "has an item at two places")
            copied += sum(map(len, extents)) if len(extents) > 1 else 0
            _require(copied <= len(self._data), "has items longer than the file")
            streams[item] = extents[0] if len(extents) == 1 else memoryview(b"".join(extents))
        return streams

    def _scaled_sizes(self, content: memoryview) -> dict[int, int]:
        """Return how many pixels each item is scaled to: by the largest size among its properties."""
        properties: list[int] = []
        scaled: dict[int, int] = {}
        for name, part in self._boxes(content):
            fields = Bits(part)
            if name == b"ipco":
                for kind, value in self._boxes(part):
                    size = Bits(value[4:] if kind == b"ispe" else bytes(8))
                    properties.append(size.bytes(4) * size.bytes(4))
            elif name == b"ipma":
                version, flags = fields.bytes(1), fields.bytes(3)
                for _ in range(fields.bytes(4)):
                    item, count = fields.bytes(4 if version else 2), fields.bytes(1)
                    self._count(1 + count)
                    indexes = [fields.take(16) & 0x7FFF if flags & 1 else fields.take(8) & 0x7F for _ in range(count)]
                    sizes = [properties[index - 1] for index in indexes if 0 < index <= len(properties)]
                    scaled[item] = max(sizes, default=0) + scaled.get(item, 0)
        return scaled

    # ------------------------------------------------ tracks

    def _track(self, content: memoryview) -> int:
        """Return the pixels of the track's first sample; 0 if the track is no AV1."""
        scaled = 0
        tables: dict[bytes, memoryview] = {}
        for name, part in self._boxes(content):
            if name == b"tkhd":
                size = Bits(part[88 if _version(part) else 76 :])
                scaled += (size.bytes(4) >> 16) * (size.bytes(4) >> 16)
            elif name == b"meta":
                self._meta(part)
            elif name == b"mdia":
                for table, entries in self._tables(part):
                    _require(table not in tables, "has a track with two tables where there may be one")
                    _require(len(entries) <= MAX_TABLE, f"has a table of more than {MAX_TABLE} bytes")
                    tables[table] = entries
        formats = [name for name, _ in self._boxes(tables.get(b"stsd", _NOTHING)[8:])]
        return _pixels(self._first_sample(tables), scaled) if b"av01" in formats else 0

    def _tables(self, content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        for name, part in self._boxes(content):
            if name == b"minf":
                for inner, tables in self._boxes(part):
                    if inner == b"stbl":
                        yield from ((table, entries) for table, entries in self._boxes(tables) if table in _TABLES)

    def _first_sample(self, tables: dict[bytes, memoryview]) -> memoryview:
        places = [(tables[name], size) for name, size in ((b"stco", 4), (b"co64", 8)) if name in tables]
        _require(len(places) == 1 and {b"stsc", b"stsz"} <= tables.keys(), "does not say where its pictures are")
        ((table, offset_size),) = places
        chunks, runs, sizes = Bits(table[4:]), Bits(tables[b"stsc"][4:]), Bits(tables[b"stsz"][4:])
        count, offset = chunks.bytes(4), chunks.bytes(offset_size)
        longest = max([runs.bytes(12) >> 32 & 0xFFFFFFFF for _ in range(runs.bytes(4))], default=0)
        _require(longest * count <= MAX_SAMPLES, f"has more than {MAX_SAMPLES} pictures")
        same, listed = sizes.bytes(4), sizes.bytes(4)
        length = same or sizes.bytes(4 if listed else 0)
        _require(offset + length <= len(self._data), "is cut short")
        return self._data[offset : offset + length]
