"""Runs of a model's graphs for a diagnosis, and what its answer says of the network that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.bundles.registry import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import GraphName
from service.diagnostics.losses import predicted_by
from service.diagnostics.measurement import RunGraph
from service.http.answers.responses import identity
from service.http.calls.call import Call

MOST_NAMED: Final = 6
"""Images that a sentence names one by one."""


def runner(call: Call, model: ServedModel) -> RunGraph:
    """Return the `RunGraph` of `model` for this call."""

    async def run(graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
        return await call.service.engine.run(model, graph, images, labels, request=call.context)

    return run


async def identity_of_network(
    call: Call, model: ServedModel, images: Array, predicted: Iterable[Sequence[str]]
) -> dict[str, Any]:
    """Return the members that the answer of a diagnosis begins with.

    For an int8 model they say that the float network answers, and name the images for which it predicts others
    (`predicted`, for each image) than `/predict` answers.
    """
    members = identity(model, call.context, float_network=True)
    if model.bundle.quantized is not None and model.bundle.quantized.rounded == "activations":
        own = predicted_by(model.bundle, (await runner(call, model)("forward", images))["logits"])
        other = [
            f"image {row}: {_quoted(mine)} by /predict, {_quoted(network)} by the float network"
            for row, (mine, network) in enumerate(zip(own, predicted, strict=True), 1)
            if set(mine) != set(network)
        ]
        if other:
            more = f", and {len(other) - MOST_NAMED} more" if len(other) > MOST_NAMED else ""
            members["quantized"] += f". The two disagree here on {len(other)} of {len(own)}: "
            members["quantized"] += "; ".join(other[:MOST_NAMED]) + more
    return members


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels)) or "none"
