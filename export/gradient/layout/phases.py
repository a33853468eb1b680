"""The input gradient of a convolution with a stride: dx at every phase of the stride, interleaved.

Along an axis, dx[s·q + r] = Σ_k w[k]·dy[(s·q + r + p − k) / s], over the k that divide. With j = (r + p − k) / s
that is Σ_j v_r[j]·dy[q + j], v_r[j] = w[r + p − s·j]: phase r is a convolution of stride 1 with a short kernel v_r.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.gradient.layout.interleaving import Phases, interleaved
from export.gradient.layout.padded_convolution import padded_conv
from export.gradient.layout.passes import Layout, Movement
from export.gradient.layout.sums import into_blocks
from export.gradient.rules.convolution.windows import Window
from export.graph.emitter import Emitter
from export.graph.graph import Array, N, static

FULL_ENOUGH = 0.75
"""Share of the taps of one kernel for all phases that must be in use. Below it every phase has its own convolution."""


@dataclass(frozen=True)
class Taps:
    """The short kernels of some phases along one axis.

    Attributes:
        index: [phases, offsets], the entry of w that a phase reads at an offset; outside w where there is none.
        first: the first offset.
    """

    index: Array
    first: int

    def of_phase(self, phase: int, size: int) -> Taps | None:
        """The taps of one phase alone, for a kernel of `size` entries; None where it has none."""
        row = self.index[phase]
        (used,) = np.nonzero((row >= 0) & (row < size))
        return Taps(row[None, used], self.first + int(used[0])) if used.size else None


def by_phases(layout: Layout, dy: str, weight: str, place: Window, groups: int) -> str:
    """Compute dx. A transposed convolution is far slower."""
    g = layout.g
    channels = static(g.shape(weight))[1] * groups
    taps = [_taps(*axis) for axis in zip(place.strides, place.kernel, place.begin, strict=True)]
    single = [
        [along.of_phase(phase, size) for phase in range(stride)]
        for along, stride, size in zip(taps, place.strides, place.kernel, strict=True)
    ]
    apart = groups == 1 and layout.fills_blocks((N, channels, *place.sizes)) and _is_sparse(single)
    sources = tuple(
        _convolved(g, dy, weight, [along for along in chosen if along], place, groups) if all(chosen) else None
        for chosen in (itertools.product(*single) if apart else [taps])
    )
    phases = Phases(channels, place.sizes, place.strides, by_channel=groups > 1)
    # Sums are formed before this movement, so the key must say all that the movement depends on.
    movement = Movement((phases, apart), sources, lambda maps: interleaved(g, maps, phases))
    return into_blocks(layout, layout.move(movement), (N, channels, *place.sizes))


def _taps(stride: int, kernel: int, begin: int) -> Taps:
    """The taps of all phases along one axis, at the same offsets."""
    first = -((kernel - 1 - begin) // stride)
    last = (stride - 1 + begin) // stride
    return Taps(np.arange(stride)[:, None] + begin - stride * np.arange(first, last + 1)[None], first)


def _is_sparse(taps: Sequence[Sequence[Taps | None]]) -> bool:
    """True where one kernel for all phases would multiply by many zeros: 9 of 16 taps are in use at 3×3, stride 2."""
    lengths = [[along.index.shape[1] if along else 0 for along in axis] for axis in taps]
    used = math.prod(sum(axis) for axis in lengths)
    return used < FULL_ENOUGH * math.prod(len(axis) * max(axis) for axis in lengths)


def _convolved(g: Emitter, dy: str, weight: str, taps: Sequence[Taps], place: Window, groups: int) -> str:
    """Dx at the phases of `taps`, [N, phases · C, …], phases first; with groups [N, C · phases, …]."""
    short = [along.index.shape[1] for along in taps]
    counts = (-(-size // stride) for size, stride in zip(place.sizes, place.strides, strict=True))
    begin = [-along.first for along in taps]
    end = [
        count - had + length - 1 - ahead
        for count, had, length, ahead in zip(counts, place.outputs, short, begin, strict=True)
    ]
    kernels = _kernels_of_phases(g, weight, [along.index for along in taps], groups)
    return padded_conv(g, dy, kernels, [*begin, *end], (1,) * len(short), groups)


def _kernels_of_phases(g: Emitter, weight: str, taps: Sequence[Array], groups: int) -> str:
    """The short kernels of phases, [C · phases, O, …] (without groups [phases · C, O, …]).

    `taps` has, for each axis, which entry of the weight every phase reads at every offset.
    """
    outputs, channels, *kernel = static(g.shape(weight))
    index = np.zeros((1, 1), dtype=np.int64)
    absent = np.zeros((1, 1), dtype=bool)
    for along, size in zip(taps, kernel, strict=True):
        index = np.kron(index, np.ones_like(along)) * size + np.kron(np.ones_like(index), np.clip(along, 0, size - 1))
        outside = (along < 0) | (along >= size)
        absent = np.kron(absent, np.ones_like(outside)) | np.kron(np.ones_like(absent), outside)
    count = math.prod(kernel)
    flat = g.reshape(weight, (groups, outputs // groups, channels, count))
    if absent.any():
        flat = g.op("Pad", flat, g.ints([0, 0, 0, 0, 0, 0, 0, 1]))  # what lies outside reads this zero
    picked = g.op("Gather", flat, g.constant(np.where(absent, count, index)), axis=3)
    phases, short = math.prod(len(along) for along in taps), [along.shape[1] for along in taps]
    return g.reshape(
        g.transpose(picked, (0, 2, 3, 1, 4) if groups > 1 else (0, 3, 2, 1, 4)),
        (groups * channels * phases, outputs // groups, *short),
    )
