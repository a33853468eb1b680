"""Every graph on the card against float64, and what the CUDA provider's options do.

Rows come in the order of what is to be decided by them: whether every net's numbers are right, then what the cheap
options gain, and last the rest. cuDNN's exhaustive search of a large net's gradients takes a minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bench.gpu.nets import GRAPHS, RESNET50, names, net
from bench.gpu.numbers.agreement import agreement, truths
from bench.gpu.numbers.extremes import batches, scales
from bench.gpu.numbers.options import CHANGES, CUDA_GRAPH, PLAIN_OPTION, Answers, option
from bench.gpu.numbers.tables import section
from bench.gpu.part import Part, Row, Setting, attempt
from bench.gpu.sessions import default_options

FIRST = ("weight_norms", "forward", "activation_norms", "input_gradient")
TIMED = FIRST[:2]
SERVED = ("resnet20", RESNET50, "resnet56")
"""The nets that are measured in every way, the most important first."""
CHEAP = (PLAIN_OPTION, "tf32")
OPTIONS = tuple(name for name in CHANGES if name != CUDA_GRAPH)

Planned = Iterator[tuple[str, Callable[[], Row]]]
"""Keys of rows, and what measures them."""


def measure(setting: Setting) -> Iterator[Row]:
    for key, row in Plan(setting).rows().items():
        yield from attempt(setting, key, row)


class Plan:
    """The rows of this part, each planned once, and in order."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._answers: dict[tuple[str, str], Answers] = defaultdict(dict)
        self._images = 2 if setting.small else 8
        self._sizes = (1, 2) if setting.small else (1, 8, 32, 256)
        self._timed = (1, 2) if setting.small else (1, 8, 32)
        self._seconds = 0.1 if setting.small else 0.6

    def rows(self) -> dict[str, Callable[[], Row]]:
        """Return what measures each row, by its key, in order; a key that is planned again keeps its first place."""
        return dict(self._small() if self._setting.small else self._whole())

    def _small(self) -> Planned:
        """Plan a row or two of each kind, of the smallest net."""
        yield from self._defaults()
        yield from self._agreements("resnet20", ("forward", "weight_norms"))
        yield from self._options("resnet20", ("weight_norms",), (PLAIN_OPTION, "channels last"))
        yield from self._extremes("resnet20", ("forward", "activation_norms"))
        yield from self._truths("resnet20", ("activation_norms",))

    def _whole(self) -> Planned:
        """Plan every row, the most important first."""
        small, large, _ = SERVED
        every = list(dict.fromkeys((*SERVED, *names(self._setting.bundles))))
        yield from self._defaults()
        for name in every:
            yield from self._agreements(name, TIMED)
        for name in every:
            yield from self._agreements(name, FIRST)
        yield from self._extremes(small, FIRST)
        yield from self._extremes(large, TIMED)
        for name in SERVED:
            yield from self._options(name, TIMED, CHEAP)
        yield from self._options(small, ("forward",), OPTIONS)
        yield from self._options(large, ("forward",), OPTIONS)
        yield from self._truths(small, TIMED[:1])
        for name in every:
            yield from self._agreements(name, GRAPHS)
        for name in SERVED:
            yield from self._extremes(name, FIRST)
        for name in SERVED:
            yield from self._options(name, TIMED, OPTIONS)

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
