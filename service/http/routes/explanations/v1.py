"""`POST /v1/models/{name}:explain`: KServe's older protocol, of which it is the explainer's part alone.

The body is {"instances": [{"b64": "…"}, …]}, as TensorFlow Serving writes files in JSON, and may have `parameters`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.diagnostics.schemas.explanation import Explanations, SampleExplanation, SampleLabelsExplanation
from service.errors import EmptyBody, InvalidParameter, MalformedRequest
from service.http.answers.openapi import A_PICTURE, DEADLINE, NAME
from service.http.answers.responses import JSON, Answer
from service.http.calls.call import Call
from service.http.requests.base64_text import from_base64
from service.http.requests.forms import LARGE_BODY
from service.http.requests.json_bodies import MAX_JSON_VALUES, parse_json
from service.http.requests.json_forms import check_depth
from service.http.requests.labels import GivenLabels, Label, as_label, label_array
from service.http.routes.explanations.explaining import check_number, explained
from service.http.routes.explanations.options import EXPLAIN_FIELDS, read_asked
from service.http.routes.submissions import model_in_path

AN_INSTANCE: Final = 'a picture in base64, or {"b64": base64, "label": …}'
PARAMETERS: Final = ("method", "layer", "steps", "label")

router = APIRouter(prefix="/v1", tags=["open inference protocol"])


class V1Explanations(BaseModel):
    """The explanations of all instances, in KServe's shape."""

    model_config = ConfigDict(extra="forbid")

    explanations: list[SampleExplanation] | list[SampleLabelsExplanation] = Field(
        description="one per instance, in the order sent: the `samples` of `POST /diagnostics/explain`"
    )


EXPLAIN_V1: Final[dict[str, Any]] = {
    "parameters": [NAME, DEADLINE],
    "requestBody": {
        "required": True,
        "description": "Pictures, and how they shall be explained.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["instances"],
                    "properties": {
                        "instances": {
                            "type": "array",
                            "minItems": 1,
                            "description": f"each {AN_INSTANCE}",
                            "items": {
                                "anyOf": [
                                    {"type": "string", "contentEncoding": "base64"},
                                    {
                                        "type": "object",
                                        "required": ["b64"],
                                        "properties": {
                                            "b64": {"type": "string", "contentEncoding": "base64"},
                                            "label": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                                        },
                                    },
                                ]
                            },
                        },
                        "parameters": {
                            "type": "object",
                            "description": "as in `POST /diagnostics/explain`",
                            "properties": EXPLAIN_FIELDS,
                        },
                    },
                },
                "example": {"instances": [{"b64": A_PICTURE}]},
            }
        },
    },
}


@router.post(
    "/models/{name}:explain", name="explain_instances", response_model=V1Explanations, openapi_extra=EXPLAIN_V1
)
async def explain_v1(call: Call) -> Answer:
    """Where in each picture the evidence for one label lies, for clients of KServe's `:explain`; at most 16."""
    model = model_in_path(call)
    read = partial(_read, call.body, call.service.settings.max_json_depth)
    images, labels, parameters = await asyncio.to_thread(read) if len(call.body) > LARGE_BODY else read()
    asked = read_asked(*(parameters.get(name) for name in ("method", "layer", "steps")))
    common = parameters.get("label")
    given = GivenLabels(tuple(labels), of_each=() if common is None else (as_label(common),))
    each = label_array(given.spread(model.bundle.label_kind, model.name), model.bundle)
    pixels = await call.service.decode_pool.pixels(images, model.bundle.input, call.context)
    found = await explained(call, model, pixels, each, asked)
    return Answer(200, [JSON], await asyncio.to_thread(_in_json, found))


def _in_json(found: Explanations) -> bytes:
    return b'{"explanations":[%s]}' % b",".join(sample.model_dump_json().encode() for sample in found.samples)


def _read(body: bytes, depth: int) -> tuple[list[bytes], list[Label], Mapping[str, Any]]:
    """Return the pictures, a label or None for each, and the parameters.

    Raises:
        MalformedRequest, EmptyBody: the body is not what the protocol says.
        InvalidParameter: too many pictures, or an unknown parameter.
    """
    if not body:
        raise EmptyBody("The body is empty.")
    document = parse_json(
        body,
        too_many=f"The JSON body has more than {MAX_JSON_VALUES} values.",
        unreadable='The body is not valid JSON; it is {"instances": [{"b64": …}]}.',
    )
    check_depth(document, depth)
    instances = document.get("instances") if isinstance(document, dict) else None
    if not isinstance(instances, list):
        raise MalformedRequest(f"The JSON body must have `instances`, a list, each {AN_INSTANCE}.")
    if not instances:
        raise EmptyBody("The list `instances` is empty.")
    check_number(len(instances))
    parameters = document.get("parameters")
    if not isinstance(parameters, dict | None):
        raise MalformedRequest("`parameters` must be a JSON object.")
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    for name in given:
        if name not in PARAMETERS:
            raise InvalidParameter(f"There is no parameter {name[:64]!r}; known here: {', '.join(PARAMETERS)}.")
    pairs = [_instance(entry) for entry in instances]
    return [data for data, _ in pairs], [label for _, label in pairs], given


def _instance(entry: Any) -> tuple[bytes, Label]:
    data, label = (entry.get("b64"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    if not isinstance(data, str):
        raise MalformedRequest(f"An instance is {AN_INSTANCE}.")
    return from_base64(data), as_label(label)
