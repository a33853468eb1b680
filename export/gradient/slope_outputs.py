"""Outputs of `loss_slopes`: the slope of each sample's loss along a change of the network, part by part."""

from __future__ import annotations

from export.gradient.context import Build
from export.gradient.outputs import emits
from export.graph.graph import N


@emits("layer_slope")
def layer_slope(build: Build) -> list[str]:
    """⟨dL/dp, Δp⟩ over weight and bias of every layer, [N, L]."""
    width = len(build.layers)
    return build.columns("layer_slope", [build.slopes.emit("layer", width)] if width else [], width)


@emits("other_slope")
def other_slope(build: Build) -> list[str]:
    """⟨dL/dp, Δp⟩ of every parameter that is neither weight nor bias of a layer, [N, P]."""
    width = len(build.prepared.others)
    return build.columns("other_slope", [build.slopes.emit("other", width)] if width else [], width)


@emits("rest_slope")
def rest_slope(build: Build) -> list[str]:
    """⟨dL/dp, Δp⟩ of what `bundle.json` does not list, such as single numbers, [N]."""
    return build.output("rest_slope", build.g.reshape(build.slopes.emit("rest", 1), (N,)), (N,))
