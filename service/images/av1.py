"""Size of the frames in an AV1 stream, read without decoding them (AV1 specification, 5.3, 5.5 and 5.9).

A decoder allocates memory by these numbers, whatever the file around the stream says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.images.errors import UndecodableImage

Bytes = bytes | memoryview

MAX_UNITS: Final = 256
"""Most units (OBUs) of one stream. A picture has three or four, one of many layers or tile groups some dozens."""
_SEQUENCE, _FRAMES = 1, frozenset({3, 6, 7})
"""Types of units: the sequence header; the header of a frame, alone, with its tiles, or repeated."""
_HEADER: Final = 512
"""Bytes: the longest sequence header is shorter."""
_KEY, _SWITCH = 0, 3
_CHOSEN_BY_FRAME: Final = 2


class Bits:
    """Reads unsigned numbers of any width in bits, one after the other."""

    def __init__(self, data: Bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, bits: int) -> int:
        """Read a number of so many bits; raise `UndecodableImage` if the data ends before."""
        end = self._position + bits
        if end > 8 * len(self._data):
            raise UndecodableImage("The AVIF ends within a number.")
        window = int.from_bytes(self._data[self._position >> 3 : (end + 7) >> 3], "big")
        self._position = end
        return window >> (-end & 7) & ((1 << bits) - 1)

    def bytes(self, count: int) -> int:
        """Read a number of so many bytes, big-endian."""
        return self.take(8 * count)


@dataclass(frozen=True)
class _Sequence:
    """The fields of a sequence header that are needed to read the beginning of a frame's header."""

    pixels: int
    most_pixels: int
    """Pixels of the largest size that a frame can say for itself. Decoders do not hold it to `pixels`."""
    still: bool
    screen_content: int = _CHOSEN_BY_FRAME
    integer_motion: int = _CHOSEN_BY_FRAME
    identifier_bits: int = 0
    time_bits: int = 0


def frames(stream: Bytes) -> Iterator[int]:
    """Yield the most pixels that each frame of the stream can have.

    Raises:
        UndecodableImage: no sequence header stands before a frame, or the stream is broken, or has too many units.
    """
    sequence = None
    for kind, content in _units(stream):
        if kind == _SEQUENCE:
            sequence = _sequence(Bits(content))
        elif kind in _FRAMES:
            if sequence is None:
                raise UndecodableImage("A frame of the AVIF has no sequence header.")
            yield _frame(Bits(content), sequence)


def _units(stream: Bytes) -> Iterator[tuple[int, Bytes]]:
    """Yield the type and the first bytes of every unit."""
    position, count = 0, 0
    while position < len(stream):
        first = stream[position]
        position += 2 if first & 4 else 1
        length = len(stream) - position
        if first & 2:
            length, shift = 0, 0  # LEB128: seven bits per byte, the lowest first
            for byte in stream[position : position + 8]:
                position += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        count += 1
        if length < 0 or position + length > len(stream) or count > MAX_UNITS:
            raise UndecodableImage(f"The AVIF's AV1 stream is cut short, or in more than {MAX_UNITS} units.")
        yield first >> 3 & 15, stream[position : position + min(length, _HEADER)]
        position += length


def _sequence(bits: Bits) -> _Sequence:
    take = bits.take
    take(4)  # profile, still picture
    still = bool(take(1))
    time_bits = 0 if still else _timing(bits)
    take(5 if still else 0)
    width_bits, height_bits = take(4) + 1, take(4) + 1
    pixels, most_pixels = (take(width_bits) + 1) * (take(height_bits) + 1), 1 << width_bits + height_bits
    if still:
        return _Sequence(pixels, most_pixels, still)
    identifier_bits = take(4) + 2 + take(3) + 1 if take(1) else 0
    take(7)  # blocks, filters, compound prediction
    order_hints = take(1)
    take(2 * order_hints)
    screen_content = _CHOSEN_BY_FRAME if take(1) else take(1)
    integer_motion = (_CHOSEN_BY_FRAME if take(1) else take(1)) if screen_content else _CHOSEN_BY_FRAME
    return _Sequence(pixels, most_pixels, still, screen_content, integer_motion, identifier_bits, time_bits)


def _timing(bits: Bits) -> int:
    """Read past timing and operating points; return how many bits a shown frame spends on its time."""
    take = bits.take
    delay_bits = time_bits = equal_intervals = 0
    if take(1):
        take(64)  # units in a tick, ticks in a second
        equal_intervals = take(1)
        if equal_intervals:
            _take_variable_length(bits)
        if take(1):
            delay_bits = take(5) + 1
            take(32 + 5)  # units in a decoding tick, length of the removal time
            time_bits = take(5) + 1
    delays = take(1)
    for _ in range(take(5) + 1):
        take(12)
        if take(5) > 7:
            take(1)  # tier
        if delay_bits and take(1):
            take(2 * delay_bits + 1)
        if delays and take(1):
            take(4)
    return 0 if equal_intervals else time_bits


def _take_variable_length(bits: Bits) -> None:
    zeros = 0
    while not bits.take(1):
        zeros += 1
    bits.take(zeros)


def _frame(bits: Bits, sequence: _Sequence) -> int:
    take = bits.take
    if sequence.still:
        return sequence.pixels
    if take(1):
        return 0  # a frame that was decoded before is shown again
    kind, shown = take(2), take(1)
    take(sequence.time_bits if shown else 1)
    if kind != _SWITCH and not (kind == _KEY and shown):
        take(1)  # resilience to errors
    take(1)  # probabilities
    screen_content = take(1) if sequence.screen_content == _CHOSEN_BY_FRAME else sequence.screen_content
    if screen_content and sequence.integer_motion == _CHOSEN_BY_FRAME:
        take(1)
    take(sequence.identifier_bits)
    says_its_size = kind == _SWITCH or take(1)
    return sequence.most_pixels if says_its_size else sequence.pixels
