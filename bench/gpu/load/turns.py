"""The starts of the service, and what each is asked for, the most important first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.gpu.load.generators import PREDICT
from bench.gpu.load.nets import LARGE_NET, NET
from bench.gpu.part import Setting

GRADIENTS = "/diagnostics/gradients"
GRAPHS = {PREDICT: "forward", GRADIENTS: "weight_norms"}
"""The graph that each request runs."""
FULL = ((PREDICT, 32), (GRADIENTS, 32), (PREDICT, 256), (PREDICT, 1), (GRADIENTS, 1))
"""Requests, each with the number of connections."""
LARGE_BATCHES = ("--max-batch", "256")
RUNS_AT_A_TIME = ("1", "4")
"""Beside the service's own choice."""


@dataclass(frozen=True)
class Turn:
    """One start of the service: a net, the provider that is asked for, other flags, and the loads."""

    net: str
    provider: str
    loads: tuple[tuple[str, int], ...]
    flags: tuple[str, ...] = ()

    def key(self, path: str, connections: int) -> str:
        return " ".join([self.net, self.provider, *self.flags, path, str(connections)])


@dataclass(frozen=True)
class Beside:
    """A net whose bound and whose host's part are measured."""

    net: str


def plan(setting: Setting) -> Iterator[Turn | Beside]:
    """Yield what is measured in turn."""
    if setting.small:
        yield Turn(NET, "auto", ((PREDICT, 1), (PREDICT, 16), (GRADIENTS, 1)))
        yield Beside(NET)
        return
    nets = (NET, LARGE_NET)
    for net in nets:
        yield Turn(net, "auto", FULL)
        yield Beside(net)
    for net in nets:
        yield Turn(net, "auto", ((PREDICT, 256),), LARGE_BATCHES)
    if setting.device == "cuda":
        for net in nets:
            yield Turn(net, "cpu", ((PREDICT, 32), (GRADIENTS, 32)))
    for runs in RUNS_AT_A_TIME:
        yield Turn(NET, "auto", ((PREDICT, 32), (PREDICT, 256)), ("--run-threads", runs))
