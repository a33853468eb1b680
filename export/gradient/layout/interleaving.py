"""From maps at the phases of a stride to the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.gradient.rules.convolution.taps import channels_last
from export.graph.emitter import Emitter
from export.graph.graph import N


@dataclass(frozen=True)
class Phases:
    """Which maps lie at the phases of a stride.

    Attributes:
        channels: channels of the whole map.
        sizes: its positions along each axis.
        strides: phases along each axis.
        by_channel: a channel's phases lie side by side, not a phase's channels.
    """

    channels: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    by_channel: bool

    @property
    def counts(self) -> tuple[int, ...]:
        """Positions of one phase along each axis."""
        return tuple(-(-size // stride) for size, stride in zip(self.sizes, self.strides, strict=True))

    @property
    def filled(self) -> tuple[int, ...]:
        """Positions of all phases along each axis; the last phases may have one too many."""
        return tuple(count * stride for count, stride in zip(self.counts, self.strides, strict=True))


def interleaved(g: Emitter, maps: Sequence[str | None], phases: Phases) -> str:
    """Bring the phases to their places: [N, channels, *sizes].

    `maps` is one map of all phases [N, phases · channels, *counts], or one of every phase [N, channels, *counts],
    None for zeros.
    """
    if len(maps) > 1 and not any(maps[1:]) and maps[0]:
        whole = _spread(g, maps[0], phases)
    elif phases.by_channel:
        whole = _by_channel(g, _joined(g, maps, phases), phases)
    else:
        whole = _channels_last(g, _joined(g, maps, phases), phases)
    return _cut(g, whole, phases)


def _joined(g: Emitter, maps: Sequence[str | None], phases: Phases) -> str:
    if len(maps) == 1 and maps[0]:
        return maps[0]
    some = next(found for found in maps if found)
    axes = len(phases.sizes)
    # All channels cut off, and as many zeros added.
    pads = [0, -phases.channels, *[0] * axes, 0, phases.channels, *[0] * axes]
    return g.op("Concat", *(found or g.op("Pad", some, g.ints(pads)) for found in maps), axis=1)


def _by_channel(g: Emitter, dx: str, phases: Phases) -> str:
    """[N, channels · phases, *counts] → [N, channels, *filled]."""
    axes = len(phases.sizes)
    if axes == 2 and len(set(phases.strides)) == 1:
        return g.op("DepthToSpace", dx, blocksize=phases.strides[0], mode="CRD")
    order = [axis for pair in zip(range(2 + axes, 2 + 2 * axes), range(2, 2 + axes), strict=True) for axis in pair]
    dx = g.transpose(g.reshape(dx, (N, phases.channels, *phases.strides, *phases.counts)), (0, 1, *order))
    return g.reshape(dx, (N, phases.channels, *phases.filled))


def _channels_last(g: Emitter, dx: str, phases: Phases) -> str:
    """[N, phases · channels, *counts] → [N, channels, *filled], with the channels last meanwhile.

    Then whole rows of channels move, which is several times faster than `DepthToSpace`; the runtime
    merges the outer transposes with its own layout changes.
    """
    axes = len(phases.sizes)
    last = g.reshape(channels_last(g, dx, 2 + axes), (N, *phases.counts, *phases.strides, phases.channels))
    order = [axis for pair in zip(range(1, 1 + axes), range(1 + axes, 1 + 2 * axes), strict=True) for axis in pair]
    return _channels_first(g, g.transpose(last, (0, *order, 1 + 2 * axes)), phases)


def _spread(g: Emitter, dx: str, phases: Phases) -> str:
    """The first phase [N, channels, *counts] among zeros: [N, channels, *filled]."""
    axes = len(phases.sizes)
    apart = [size for count in phases.counts for size in (count, 1)]
    last = g.reshape(channels_last(g, dx, 2 + axes), (N, *apart, phases.channels))
    ends = [pad for stride in phases.strides for pad in (0, stride - 1)]
    return _channels_first(g, g.op("Pad", last, g.ints([0] * (3 + 2 * axes) + [*ends, 0])), phases)


def _channels_first(g: Emitter, last: str, phases: Phases) -> str:
    """[N, …, channels] → [N, channels, *filled]."""
    axes = len(phases.sizes)
    return g.transpose(g.reshape(last, (N, *phases.filled, phases.channels)), (0, 1 + axes, *range(1, 1 + axes)))


def _cut(g: Emitter, dx: str, phases: Phases) -> str:
    """Cut off the positions that the last phases have too many."""
    if phases.filled == phases.sizes:
        return dx
    axes = len(phases.sizes)
    return g.op("Slice", dx, g.ints([0] * axes), g.ints(phases.sizes), g.ints(range(2, 2 + axes)))
