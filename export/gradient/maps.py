"""Which layers have a map of the image, and how large it is.

A map is what an explanation of a layer is drawn on: a tensor with channels and two axes of positions, each position
standing for a place in the image. A patch embedding has one too, but a network that only reads tokens behind it does
its work where no map is left, and the gradient's mean over the patches says little. So such a network has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.gradient.norms.layers import WeightedLayer, channel_axis_of
from export.graph.graph import Graph, N, per_sample_size, static


@dataclass(frozen=True)
class LayerMap:
    """The map of one layer: its tensor, which of its four axes holds the channels (1 or 3), and its size."""

    tensor: str
    channel_axis: int
    channels: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


def _last_tensor(graph: Graph, layer: WeightedLayer) -> str:
    """The output of a layer, behind its rectifier where it has one, and else with its bias."""
    if layer.rectifier:
        return layer.rectifier.outputs[0]
    if layer.bias is None or layer.nodes[0].operator not in ("MatMul", "Gemm"):
        return layer.output
    reading = (node for node in graph.nodes if layer.output in node.inputs)
    own = {layer.bias, *(name for name, source in graph.origin.items() if source == layer.bias)}
    added = [node.outputs[0] for node in reading if node.operator == "Add" and own.intersection(node.inputs)]
    return added[0] if added else layer.output


def layer_maps(graph: Graph, layers: Sequence[WeightedLayer]) -> list[LayerMap | None]:
    """The map of every layer, None where it has none: one position, tokens, or the same for all samples.

    Where channels come last, a convolution's map before it must be a whole number of times as large. Heads or tokens
    may stand on two axes as well, and tokens are as many as all places of such a map.
    """
    planes: list[tuple[int, int]] = []
    maps: list[LayerMap | None] = []
    for layer in layers:
        found = _map_of(graph, layer)
        if found and found.channel_axis == 1:
            planes.append(found.size)
        elif found and not any(_divides(found.size, plane) for plane in planes):
            found = None
        maps.append(found)
    return [None] * len(maps) if _lives_on_tokens(graph, layers, maps) else maps


def _map_of(graph: Graph, layer: WeightedLayer) -> LayerMap | None:
    tensor = _last_tensor(graph, layer)
    shape = graph.shape(tensor)
    if tensor in graph.shared or len(shape) != 4 or shape[0] != N:
        return None
    axis = channel_axis_of(graph, layer)
    if axis not in (1, 3):
        return None
    height, width = static(shape[2:] if axis == 1 else shape[1:3])
    return LayerMap(tensor, axis, static([shape[axis]])[0], height, width) if height * width > 1 else None


def _divides(size: tuple[int, int], plane: tuple[int, int]) -> bool:
    """True where a plane is the same whole number of times as high and as wide as a map."""
    return plane[0] % size[0] == 0 and (plane[0] // size[0]) * size[1] == plane[1]


def _lives_on_tokens(graph: Graph, layers: Sequence[WeightedLayer], maps: Sequence[LayerMap | None]) -> bool:
    """True where no map lies behind the first layer of tokens, and more layers have tokens than maps."""
    tokens = [found is None and _has_positions(graph, layer) for layer, found in zip(layers, maps, strict=True)]
    first = tokens.index(True) if any(tokens) else len(layers)
    return not any(maps[first:]) and sum(tokens) > sum(found is not None for found in maps)


def _has_positions(graph: Graph, layer: WeightedLayer) -> bool:
    """True where a sample's output of a layer is more than one vector of channels."""
    tensor = _last_tensor(graph, layer)
    if tensor in graph.shared:
        return False
    shape = graph.shape(tensor)
    return per_sample_size(shape) > per_sample_size((shape[channel_axis_of(graph, layer)],))
