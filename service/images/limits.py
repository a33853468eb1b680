"""Limits of an image: its size, the memory that decoding takes, and the number of parts that a file is cut into."""

from __future__ import annotations

from typing import Final

MAX_PIXELS: Final = 25_000_000
"""Most pixels of an image, unless a setting says otherwise."""

MAX_PIXELS_COPIED: Final = 16_000_000
"""Most pixels of a WEBP or AVIF. Pillow copies them in one go and holds the interpreter for it, some 40 ms."""

MAX_PIXELS_BESIDE: Final = 2**22
"""Pixels that the transparency, layers and parts of an AVIF may have on top of twice the picture's own."""

DECODING_BYTES: Final = 16
"""Most bytes that decoding takes per pixel. Measured: 16 for a lossless WebP, 13 for a PNG, 7 to 12 for a JPEG."""

MAX_SIDE: Final = 2**18
"""Most pixels along one side: the weights that resize a side take memory, whatever the other side is."""

MAX_PIECES: Final = 2**16
"""Most segments of a JPEG, chunks of a PNG or WEBP, pieces of a GIF's comments, strips or tiles of a TIFF.

Each costs microseconds in Python and dozens of bytes in a decoder.
"""
