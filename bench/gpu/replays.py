"""Graphs replayed as CUDA graphs beside the same graphs run node by node.

They are a part, and so a process, of their own: a capture that fails may leave the card's memory locked for whatever
comes after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.gpu.nets import RESNET50, net
from bench.gpu.numbers.options import CUDA_GRAPH, PLAIN_OPTION, Answers, option
from bench.gpu.numbers.tables import section
from bench.gpu.part import Part, Row, Setting, attempt

GRAPHS = ("forward", "weight_norms", "activation_norms")
ORDER = tuple((name, graph) for graph in GRAPHS for name in ("resnet20", RESNET50, "resnet56"))
"""Nets and their graphs, the ones that are decided by first."""
SIZES = (1, 8, 32)
SECONDS = 0.6
"""Time of one session's runs of one size after the other; those of all sizes in turn take a third more."""


def measure(setting: Setting) -> Iterator[Row]:
    for name, graph in ORDER[:1] if setting.small else ORDER:
        plain: Answers = {}
        for each in (PLAIN_OPTION, CUDA_GRAPH):
            yield from attempt(
                setting, f"option/{name}/{graph}/{each}", partial(_row, setting, name, graph, each, plain)
            )


def _row(setting: Setting, name: str, graph: str, each: str, plain: Answers) -> Row:
    sizes, seconds = ((1, 2), 0.1) if setting.small else (SIZES, SECONDS)
    return option(net(name, setting.bundles), graph, each, sizes, seconds, setting.device, plain)


PART = Part("replays", measure, section)
