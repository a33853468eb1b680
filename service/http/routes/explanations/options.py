"""Options of explanations: their part of the OpenAPI document, and how they are read."""

from __future__ import annotations

from typing import Any, Final

from service.diagnostics.explanation.asked import Asked, asked
from service.diagnostics.explanation.steps import LEAST_STEPS, MOST_STEPS, USUAL_STEPS
from service.diagnostics.schemas.explanation import METHODS
from service.errors import InvalidParameter
from service.http.answers.openapi import image_request, numeric_option

METHOD: Final[dict[str, Any]] = {
    "schema": {"type": "string", "enum": list(METHODS), "default": METHODS[0]},
    "description": "how the evidence is found: by the map of a layer (grad_cam), or by the gradient at the pixels",
}
LAYER: Final[dict[str, Any]] = {
    "schema": {"type": "string"},
    "description": "of grad_cam: name of the layer whose map is shown, one with a `map_size` in `GET /models/{name}`; "
    "default: the last of them",
}
STEPS: Final = numeric_option(
    f"runs per image of integrated_gradients (default: {USUAL_STEPS['integrated_gradients']}) and smooth_grad "
    f"({USUAL_STEPS['smooth_grad']}), or as many as there is time for before the deadline",
    type="integer",
    minimum=LEAST_STEPS,
    maximum=MOST_STEPS,
)
LABEL: Final[dict[str, Any]] = {
    "schema": {"type": "string"},
    "description": "index or name of the label whose logit is explained: one, also where labels are independent; "
    "default: the one with the largest logit",
}
FORMAT: Final[dict[str, Any]] = {
    "schema": {"type": "string", "enum": ["json", "svg", "png"]},
    "description": "svg: the pictures with the maps laid over them, and a legend; png: the same of one picture, "
    "without words; default: by the Accept header, else json",
}

OPTIONS: Final = {"label": LABEL, "method": METHOD, "layer": LAYER, "steps": STEPS}

EXPLAIN: Final = image_request(label=LABEL, method=METHOD, layer=LAYER, steps=STEPS, format=FORMAT)
EXPLAIN_FIELDS: Final = {name: one["schema"] | {"description": one["description"]} for name, one in OPTIONS.items()}
"""The options as fields of a JSON body."""


def read_asked(method: Any, layer: Any, steps: Any) -> Asked:
    """Return what is asked for; None stands for what is not said.

    Raises:
        InvalidParameter: not one of the choices.
    """
    for name, value in (("method", method), ("layer", layer)):
        if not isinstance(value, str | None):
            raise InvalidParameter(f"`{name}` must be a string, not {str(value)[:40]!r}.")
    return asked(method, layer, _whole_number(steps))


def _whole_number(steps: Any) -> int | None:
    if isinstance(steps, str) and steps.isascii() and steps.isdigit() and len(steps) < 10:
        return int(steps)
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool)):
        raise InvalidParameter(f"`steps` must be a whole number from {LEAST_STEPS} to {MOST_STEPS}.")
    return steps
