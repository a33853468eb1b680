"""Explanations as named outputs of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.bundle_schema import THE_IMAGE
from service.diagnostics.explanation.asked import layer_of, one_label_each
from service.diagnostics.explanation.grad_cam import grad_cam
from service.errors import MalformedRequest
from service.http.calls.call import Call
from service.http.open_inference.catalogue import EVIDENCE, GRAD_CAM, LOGIT_GRADIENT
from service.http.routes.runs import runner


async def explanation_tensors(
    call: Call,
    model: ServedModel,
    images: Array,
    labels: NDArray[np.int64] | None,
    layer: Any,
    wanted: Collection[str],
) -> dict[str, Array]:
    """Return the `wanted` outputs of the graph `explanation`, and its logits.

    Args:
        images: pixels, or the tensor `input`.
        labels: as the input `label` has them.
        layer: the request's parameter: name of a layer that has a map; None for the last of them.

    Raises:
        MalformedRequest: `layer` is no name.
        ServiceError: there is no such layer, several labels are given for an image, or as `Engine.run`.
    """
    if not isinstance(layer, str | None):
        raise MalformedRequest("The parameter layer must be the name of a layer.")
    run, bundle = runner(call, model), model.bundle
    each = np.full(len(images), -1, np.int64) if labels is None else one_label_each(bundle, labels)
    found: dict[str, Array] = {}
    if LOGIT_GRADIENT in wanted:
        outputs = await run("explanation", images, each, layer=THE_IMAGE)
        found["logits"] = outputs["logits"]
        found[LOGIT_GRADIENT] = outputs["logit_gradient"].reshape(-1, *bundle.input.image_shape)
    if {GRAD_CAM, EVIDENCE}.intersection(wanted):
        values, found["logits"] = await grad_cam(run, bundle, images, each, layer_of(bundle, layer))
        found[EVIDENCE], found[GRAD_CAM] = values, np.maximum(values, 0)
    return found
