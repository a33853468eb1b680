"""Runs of a model's graphs for a diagnosis, and what its answer says of the network that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import GraphName
from service.diagnostics.measurement import RunGraph
from service.diagnostics.quantized import about_network
from service.diagnostics.schemas.base import DiagnosticSchema
from service.http.answers.responses import identity
from service.http.calls.call import Call


def runner(call: Call, model: ServedModel) -> RunGraph:
    """Return the `RunGraph` of `model` for this call."""

    async def run(graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
        return await call.service.engine.run(model, graph, images, labels, request=call.context)

    return run


async def identity_of_network(
    call: Call, model: ServedModel, images: Array, samples: Sequence[DiagnosticSchema]
) -> dict[str, Any]:
    """Return the members that the answer of a diagnosis begins with.

    For an int8 model they say what `about_network` does of these images, and of the answer's `samples`.
    """
    quantized = await about_network(runner(call, model), model.bundle, images, samples)
    return {**identity(model, call.context), "quantized": quantized}
