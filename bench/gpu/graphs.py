"""Part 1: every graph on the card against float64, and what the CUDA provider's options do.

Rows come in the order of what is to be decided by them: the numbers of the nets that are served most, the options,
the extremes, and then every other bundle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bench.gpu.nets import RESNET50, names, net
from bench.gpu.numbers.agreement import agreement, truths
from bench.gpu.numbers.extremes import batches, scales
from bench.gpu.numbers.options import CHANGES, CUDA_GRAPH, PLAIN_OPTION, Answers, option
from bench.gpu.numbers.tables import section
from bench.gpu.part import Part, Row, Setting, attempt
from bench.gpu.sessions import default_options
from service.contract.outputs import GRAPHS

FIRST = ("weight_norms", "forward", "activation_norms", "input_gradient")
REST = tuple(graph for graph in GRAPHS if graph not in FIRST)
TIMED = FIRST[:2]
SERVED = ("resnet20", RESNET50, "resnet56")
"""The nets that are measured in every way, the most important first."""
QUICK = (PLAIN_OPTION, "tf32", "exhaustive search")
OTHERS = tuple(name for name in CHANGES if name not in (*QUICK, CUDA_GRAPH))

Planned = Iterator[tuple[str, Callable[[], Row]]]
"""Keys of rows, and what measures them."""


def measure(setting: Setting) -> Iterator[Row]:
    plan = _Plan(setting)
    planned: set[str] = set()
    for key, row in plan.small() if setting.small else plan.whole():
        if key not in planned:
            planned.add(key)
            yield from attempt(setting, key, row)


class _Plan:
    """The rows in order; a key that comes again is the same row."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._answers: dict[tuple[str, str], Answers] = defaultdict(dict)
        self._images = 2 if setting.small else 8
        self._sizes = (1, 2) if setting.small else (1, 8, 32, 256)
        self._timed = (1, 2) if setting.small else (1, 8, 32)
        self._seconds = 0.1 if setting.small else 0.6

    def small(self) -> Planned:
        """Plan a row or two of each kind, of the smallest net."""
        yield from self._defaults()
        yield from self._agreements("resnet20", ("forward", "weight_norms"))
        yield from self._options("resnet20", ("weight_norms",), (PLAIN_OPTION, "channels last"))
        yield from self._extremes("resnet20", ("forward", "activation_norms"))
        yield from self._truths("resnet20", ("activation_norms",))

    def whole(self) -> Planned:
        first, second, third = SERVED
        yield from self._defaults()
        yield from self._agreements(first, FIRST)
        yield from self._options(first, TIMED, QUICK)
        yield from self._agreements(second, TIMED)
        yield from self._options(second, TIMED, QUICK)
        yield from self._extremes(first, FIRST)
        yield from self._agreements(third, FIRST)
        yield from self._agreements(second, FIRST)
        yield from self._extremes(second, TIMED)
        yield from self._truths(first, TIMED[:1])
        for name in SERVED:
            yield from self._agreements(name, REST)
        for name in names(self._setting.bundles):
            yield from self._agreements(name, GRAPHS)
        for name in SERVED:
            yield from self._options(name, TIMED, (*QUICK, *OTHERS))
        for name in SERVED:
            yield from self._extremes(name, FIRST)

    def _defaults(self) -> Planned:
        yield "defaults/provider", self._default

    def _default(self) -> Row:
        smallest = net(SERVED[0], self._setting.bundles).models["forward"]
        return {"options": default_options(smallest, self._setting.device)}

    def _agreements(self, name: str, graphs: Sequence[str]) -> Planned:
        for graph in graphs:
            yield f"agreement/{name}/{graph}", partial(self._agreement, name, graph)

    def _agreement(self, name: str, graph: str) -> Row:
        return agreement(net(name, self._setting.bundles), graph, self._images, self._setting.device)

    def _truths(self, name: str, graphs: Sequence[str]) -> Planned:
        for graph in graphs:
            yield f"truth/{name}/{graph}", partial(self._truth, name, graph)

    def _truth(self, name: str, graph: str) -> Row:
        return truths(net(name, self._setting.bundles), graph, self._images, self._setting.device)

    def _options(self, name: str, graphs: Sequence[str], options: Sequence[str]) -> Planned:
        for graph in graphs:
            for each in options:
                yield f"option/{name}/{graph}/{each}", partial(self._option, name, graph, each)

    def _option(self, name: str, graph: str, each: str) -> Row:
        setting, plain = self._setting, self._answers[name, graph]
        return option(net(name, setting.bundles), graph, each, self._timed, self._seconds, setting.device, plain)

    def _extremes(self, name: str, graphs: Sequence[str]) -> Planned:
        for graph in graphs:
            yield f"batches/{name}/{graph}", partial(self._batches, name, graph)
            if graph != "forward":
                yield f"scales/{name}/{graph}", partial(self._scales, name, graph)

    def _batches(self, name: str, graph: str) -> Row:
        return batches(net(name, self._setting.bundles), graph, self._sizes, self._setting.device)

    def _scales(self, name: str, graph: str) -> Row:
        return scales(net(name, self._setting.bundles), graph, self._images, self._setting.device)


PART = Part("graphs", measure, section)
