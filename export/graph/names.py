"""Names that a file and the engine would both use, and how they are kept apart.

The engine's graphs have inputs and outputs whose names are a contract (`service.contract.bundle_schema`), and
tensors of its own between them, while a file may use any name for anything. So a tensor of a file that has a
name of the contract is called `~0/<name>` inside the engine, and `shown` gives its own name back. A tensor that
the engine adds has `OWN` in its name, or a name that `Emitter` has found to be free.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from onnx import GraphProto, ModelProto

from export.graph.branches import branches, defined_names
from service.contract.outputs import OUTPUTS

OWN = "/~"
"""Mark in every name that the engine derives from the name of a file's tensor or node."""
INPUT, LOGITS = "input", "logits"
"""The two ends of every graph of ours."""
CONTRACT = frozenset({INPUT, "label", "cotangent_scale", "layer", *(output.name for output in OUTPUTS)} - {"map"})
"""Inputs and outputs of the engine's graphs, beside `map/<layer>`."""
MAP = "map/"
ESCAPED = "/^~"
"""Replacement of `OWN` in the new name of a tensor whose own name held it."""
RENAMED = re.compile(r"^~\d+/")


def original(name: str) -> str:
    """Return the name that a tensor had before `distinct_names`."""
    return RENAMED.sub("", name).replace(ESCAPED, OWN) if RENAMED.match(name) else name


def shown(name: str) -> str:
    """Return the file's own name of a stored tensor, or of the one that the engine derived a tensor from."""
    return original(name).split(OWN)[0]


def renamed(name: str, taken: Collection[str]) -> str:
    """Return a new name for a tensor, not in `taken`, from which `original` finds `name` again."""
    safe = name.replace(OWN, ESCAPED)
    return next(candidate for count in range(10**9) if (candidate := f"~{count}/{safe}") not in taken)


def of_contract(name: str) -> bool:
    """Tell whether our graphs give this name to an input or an output."""
    return name in CONTRACT or name.startswith(MAP)


def distinct_names(model: ModelProto, contract: bool = True) -> ModelProto:
    """Return `model` with names that clash neither with the engine's nor between a branch and any other graph.

    An input called `input` and a first output called `logits` keep those names. With `contract` false all names of
    the contract are kept. The model itself is returned where nothing is to be renamed.
    """
    naming = _Naming(model, contract)
    plan = naming.plan(model.graph, {})
    if not naming.renames:
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    _rename(copy.graph, plan)
    return copy


class _Plan:
    """The new names in one graph, and the plans of its branches, in their order."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.branches: list[_Plan] = []


class _Naming:
    def __init__(self, model: ModelProto, contract: bool) -> None:
        self._contract = contract
        self._ends = {INPUT} & {value.name for value in model.graph.input}
        self._ends |= {LOGITS} & {value.name for value in model.graph.output[:1]}
        self._taken = set(_all_names(model.graph))
        self._defined: set[str] = set()
        self.renames = False

    def plan(self, graph: GraphProto, around: Mapping[str, str]) -> _Plan:
        """Return the plan of `graph`; `around` holds the renamed tensors that it sees from outside."""
        own = list(dict.fromkeys(defined_names(graph)))
        names = dict(around)
        for name in own:
            names.pop(name, None)
            if self._clashes(name, inside=bool(self._defined) and name in self._defined):
                names[name] = self._fresh(name)
                self.renames = True
        self._defined.update(own)
        found = _Plan(names)
        found.branches = [self.plan(branch, names) for branch in branches(graph)]
        return found

    def _clashes(self, name: str, inside: bool) -> bool:
        return inside or OWN in name or (self._contract and of_contract(name) and name not in self._ends)

    def _fresh(self, name: str) -> str:
        new = renamed(name, self._taken)
        self._taken.add(new)
        return new


def _all_names(graph: GraphProto) -> Iterator[str]:
    yield from defined_names(graph)
    yield from (name for node in graph.node for name in node.input if name)
    for branch in branches(graph):
        yield from _all_names(branch)


def _rename(graph: GraphProto, plan: _Plan) -> None:
    inner = iter(plan.branches)
    for branch in branches(graph):
        _rename(branch, next(inner))
    names: Mapping[str, str] = plan.names
    for node in graph.node:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                if name in names:
                    field[index] = names[name]
    entries: Collection[object] = (*graph.initializer, *graph.input, *graph.output, *graph.value_info)
    for entry in entries:
        entry.name = names.get(entry.name, entry.name)  # type: ignore[attr-defined]
