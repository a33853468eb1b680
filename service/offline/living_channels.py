"""Keeps which channels of the rectifiers were ever alive, in a column of the table.

A row holds the channels that are alive on its image and on none of a row before. Most rows therefore hold nothing,
and all rows together hold the channels that were ever alive: also where the tables of several parts are joined, each
of which began anew.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle
from service.contract.dead_channels import alive_channels


class LivingChannels:
    """The channels that were alive on at least one image so far: `alive`, bool [C]."""

    def __init__(self, bundle: Bundle) -> None:
        self.alive: NDArray[np.bool_] = np.zeros(channels_of(bundle), bool)

    def cells(self, channel_peak: Array) -> list[str]:
        """Take in more images, [N, C], and return the cell of each."""
        return [self._cell(alive) for alive in alive_channels(channel_peak)]

    def take(self, cell: str) -> None:
        """Take in the channels that a cell holds."""
        if cell:
            bits = np.frombuffer(zlib.decompress(base64.b64decode(cell)), np.uint8)
            self.alive |= np.unpackbits(bits, count=self.alive.size).astype(bool)

    def _cell(self, alive: NDArray[np.bool_]) -> str:
        first = alive & ~self.alive
        if not first.any():
            return ""
        self.alive |= first
        return base64.b64encode(zlib.compress(np.packbits(first).tobytes())).decode("ascii")


def channels_of(bundle: Bundle) -> int:
    """Return how many channels rectifiers have that can be looked at; 0 where the bundle has no graph for it."""
    return sum(layer.channels for layer in bundle.layers) if "activations" in bundle.graphs else 0
