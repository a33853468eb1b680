"""The walk over the emitted nodes, and the table of rewrites that it applies."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from export.graph.emitter import Emitter
from export.graph.graph import Node, Shape, static

CHANNEL_BLOCK = 16
"""Channels in a block with AVX-512; 8 elsewhere."""


@dataclass(frozen=True)
class Movement:
    """A linear rearrangement of entries: some tensor is move(sources), where None stands for zeros.

    `key` describes it, shapes and the number of sources included.
    """

    key: Hashable
    sources: tuple[str | None, ...]
    move: Callable[[Sequence[str | None]], str]


class Layout:
    """One walk over the emitted nodes in their order; `g` holds the nodes that come out.

    - `made`: the emitted node of every tensor, by the tensor's name.
    - `moved`: the movement whose result a tensor is, for every tensor that is one.
    - `position_means`: for every sum over positions that became a mean, the mean's tensor, its channels and the
      number of positions.
    """

    def __init__(self, g: Emitter) -> None:
        self.g = g.continued()
        self.made: dict[str, Node] = {}
        self.moved: dict[str, Movement] = {}
        self.position_means: dict[str, tuple[str, int, float]] = {}
        self._origins = {node.name: node for node in g.graph.nodes}

    def run(self, nodes: Sequence[Node]) -> list[Node]:
        """Return `nodes`, rewritten; some may be dead."""
        renamed: dict[str, str] = {}
        shapes = self.g.graph.shapes
        for node in nodes:
            node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
            self.made.update(dict.fromkeys(node.outputs, node))
            rewrite = REWRITES.get(node.operator)
            with self.g.scope(scope_of(node)):
                result = rewrite(self, node) if rewrite else None
            if result is None:
                self.g.keep(node)
                continue
            # What was known of the tensor holds for the one in its place.
            renamed[node.outputs[0]] = result
            if node.outputs[0] in shapes:
                self.g.declare(result, shapes.pop(node.outputs[0]))
        return self.g.nodes

    def shape(self, tensor: str) -> Shape | None:
        """The shape of a forward tensor, of a cotangent, or of a product of two such of one shape; None otherwise."""
        if tensor in self.g.graph.shapes or tensor in self.g.graph.constants:
            return self.g.shape(tensor)
        node = self.made.get(tensor)
        if node is None or node.operator != "Mul":
            return None
        first, second = (self.shape(name) for name in node.inputs)
        return first if first == second else None

    def fills_blocks(self, shape: Shape | None) -> bool:
        """True for maps [rows, C, h, w] whose channels fill whole blocks: the runtime blocks no others."""
        return shape is not None and len(shape) == 4 and static(shape[1:2])[0] % CHANNEL_BLOCK == 0

    def origin(self, node: Node) -> Node | None:
        """The forward node for which a node was emitted."""
        return self._origins.get(scope_of(node))

    def move(self, movement: Movement) -> str:
        """Emit a movement, and remember it for the sums behind."""
        result = movement.move(movement.sources)
        self.moved[result] = movement
        return result


Rewrite = Callable[[Layout, Node], str | None]
"""Emits what takes a node's place and returns its tensor; None keeps the node."""

REWRITES: dict[str, Rewrite] = {}


def rewrites(operator: str) -> Callable[[Rewrite], Rewrite]:
    """Register the rewrite of one operator; ValueError on a double."""

    def register(rewrite: Rewrite) -> Rewrite:
        if operator in REWRITES:
            raise ValueError(f"{operator} is rewritten already")
        REWRITES[operator] = rewrite
        return rewrite

    return register


def scope_of(node: Node) -> str:
    """The name of the forward node for which a node was emitted, which begins its own."""
    return node.name.rpartition("/gradient/")[0]


def laid_out(g: Emitter, nodes: Sequence[Node]) -> list[Node]:
    """Return the emitted `nodes`, laid out for ONNX Runtime; some may be dead."""
    return Layout(g).run(nodes)
