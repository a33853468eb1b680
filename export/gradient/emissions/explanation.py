"""Outputs of the graph `explanation`: what a class's logit owes to places of a layer's map, and to the image.

A run asks for one of them by the input `layer`, and `staging` sees to it that nothing else is computed.
"""

from __future__ import annotations

from export.gradient.context import Build
from export.gradient.emissions.table import emits
from export.gradient.maps import LayerMap
from export.gradient.staging import IMAGE
from export.graph.graph import UNKNOWN, N, per_sample_size
from export.graph.names import INPUT


@emits("layer_evidence")
def layer_evidence(build: Build) -> list[str]:
    """Σ_c g_c·A_c at every position of the map A of the layer asked for, g the mean of dz/dA over the positions."""
    columns = []
    for index, (layer, found) in enumerate(zip(build.layers, build.prepared.maps, strict=True)):
        if found is not None:
            with build.g.scope(layer.nodes[0].name):
                columns.append(build.target(index, _evidence(build, found)))
    if not columns:
        return build.columns("layer_evidence", [])
    return build.output("layer_evidence", build.g.op("Concat", *columns, axis=1), (N, UNKNOWN))


def _evidence(build: Build, found: LayerMap) -> str:
    """The evidence of one layer, [N, height·width]: a product of the means with the map."""
    g, positions = build.g, found.height * found.width
    dy, shape = build.gradients.tensors[found.tensor], build.graph.shape(found.tensor)
    if found.channel_axis == 1:
        mean = g.mul(g.position_sum(dy, shape), g.scalar(1 / positions))
        flat = g.reshape(found.tensor, (N, found.channels, positions))
        product = g.op("MatMul", g.reshape(mean, (N, 1, found.channels)), flat)
    else:
        mean = g.mul(g.reduce_sum(dy, (1, 2)), g.scalar(1 / positions))
        flat = g.reshape(found.tensor, (N, positions, found.channels))
        product = g.op("MatMul", flat, g.reshape(mean, (N, found.channels, 1)))
    return g.reshape(product, (N, positions))


@emits("logit_gradient")
def logit_gradient(build: Build) -> list[str]:
    """dz/dinput, flat, where the image is asked for."""
    shape = build.graph.shape(INPUT)
    flat = build.g.reshape(build.gradients.tensors[INPUT], (N, per_sample_size(shape)))
    return build.output("logit_gradient", build.target(IMAGE, flat), (N, UNKNOWN))
