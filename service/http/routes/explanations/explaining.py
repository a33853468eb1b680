"""From images to the answer of an explanation."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.bundles.served_model import ServedModel
from service.contract.arrays import Pixels
from service.diagnostics.explanation.answer import answer_explanations
from service.diagnostics.explanation.asked import Asked, check_explainable
from service.diagnostics.explanation.steps import NoTime
from service.diagnostics.schemas.explanation import Explanations
from service.errors import InvalidParameter
from service.http.answers.responses import identity
from service.http.calls.call import Call
from service.http.routes.runs import fitting_images, runner, too_late

MOST_IMAGES: Final = 16
"""Images that one request may have: a map is as large as a picture, and a method may take 64 runs for each."""


def check_number(images: int) -> None:
    """Raise `InvalidParameter` if there are more images than a request may have."""
    if images > MOST_IMAGES:
        raise InvalidParameter(f"Send at most {MOST_IMAGES} images, not {images}.")


async def explained(
    call: Call, model: ServedModel, pixels: Pixels, labels: NDArray[np.int64], asked: Asked
) -> Explanations:
    """Explain one label of each image.

    Args:
        pixels: uint8 [n, h, w, c], decoded for `model`.
        labels: as `label_array` gives them.

    Raises:
        ServiceError: the model has no such explanation, there is no time for it, or as `Engine.run`.
    """
    check_explainable(model.bundle)
    graph = model.graph("explanation")
    if graph.state != "ready":
        await call.service.engine.load(model, graph, len(pixels), call.context)
    answered_by, fitting = identity(model, call.context), fitting_images(call, model)
    try:
        return await answer_explanations(runner(call, model), model.bundle, answered_by, pixels, labels, asked, fitting)
    except NoTime as error:
        raise too_late(call, error) from None
