"""Endpoints declare themselves for the OpenAPI document in these words: bodies with images, parameters, errors.

`service.http.routes.openapi_document` puts the document together. It also knows what is served, and so fills in the
examples that are marked here as `A_MODEL`, `ITS_VERSION` and `TWO_MODELS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from service.http.answers.schemas import LabelledImage

A_MODEL: Final = "{the name of a served model}"
ITS_VERSION: Final = "{a version of it}"
TWO_MODELS: Final = "{the names of two served models}"
MARKS: Final = frozenset({A_MODEL, ITS_VERSION, TWO_MODELS})

Responses = dict[int | str, dict[str, Any]]

PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAANUlEQVR42gXBIQEAAAgDMII9BPqaEA+BRhPiIYjFFjjUsU++CSxr0TteBaTS"
    "tGAxkFOpTjrxcaIW0cBeII8AAAAASUVORK5CYII="
)
"""A PNG of 4×4 pixels in base64: examples send it, so that they work unchanged."""

# ---------------------------------------------------------------- errors

MEANINGS: Final = {
    400: "Malformed request, or an empty body",
    401: "No valid API key",
    404: "No such model",
    408: "The request did not arrive in time",
    413: "Too many bytes, pixels or images",
    415: "Not an image of a known format, or a content encoding that is not taken",
    417: "An expectation that is not known; only 100-continue is",
    422: "An image that cannot be decoded, or a parameter that is unknown or out of range",
    429: "Over the key's own rate",
    431: "The request's head is over the limit",
    500: "The model failed on this image",
    501: "A transfer coding that is not known; only chunked is",
    503: "Not ready, or too busy; see Retry-After",
    504: "The deadline passed",
    505: "Neither HTTP/1.1 nor HTTP/1.0",
}

PROTOCOL_MEANINGS: Final = {
    **{status: text for status, text in MEANINGS.items() if status not in (415, 422)},
    400: "Not what the protocol says, or an input that cannot be used",
    404: "No such model or version",
    500: "The model failed on this input",
}
"""Under /v2, where the open protocol has an error shape of its own and knows neither 415 nor 422."""


def component_of(status: int, *, protocol: bool = False) -> str:
    """The name under which the document keeps an error that many operations answer, e.g. `NotFound`."""
    return ("Protocol" if protocol else "") + HTTPStatus(status).phrase.title().replace(" ", "")


def _errors(meanings: Mapping[int, str], statuses: Iterable[int], *, protocol: bool) -> Responses:
    return {
        status: {
            "$ref": f"#/components/responses/{component_of(status, protocol=protocol)}",
            "description": meanings[status],
        }
        for status in statuses
    }


OF_EVERY_ENDPOINT: Final = (400, 401, 408, 417, 429, 431, 500, 501, 503, 505)

ERRORS: Final = _errors(MEANINGS, MEANINGS, protocol=False)
"""The errors of an endpoint that takes images."""

PLAIN_ERRORS: Final = _errors(MEANINGS, OF_EVERY_ENDPOINT, protocol=False)
"""The errors of an endpoint that can fail in no way of its own."""

PROTOCOL_ERRORS: Final = _errors(PROTOCOL_MEANINGS, PROTOCOL_MEANINGS, protocol=True)
PLAIN_PROTOCOL_ERRORS: Final = _errors(PROTOCOL_MEANINGS, OF_EVERY_ENDPOINT, protocol=True)

# ---------------------------------------------------------------- parameters

DEADLINE: Final[dict[str, Any]] = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "required": False,
    "schema": {"type": "number", "exclusiveMinimum": 0},
    "description": "milliseconds after which an answer is of no use; default and most: the setting deadline_ms",
}

NAME: Final[dict[str, Any]] = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "name of a model, or name@version",
    "example": A_MODEL,
}

VERSION: Final[dict[str, Any]] = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "version of the model",
    "example": ITS_VERSION,
}

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "model": {"schema": {"type": "string"}, "description": "name, or name@version; default: the default model"},
    "version": {"schema": {"type": "string"}, "description": "default: the highest"},
    "top_k": {"schema": {"type": "integer", "minimum": 1, "default": 5}, "description": "labels to rank"},
    "label": {
        "schema": {"type": "string"},
        "description": "index or name of the class; default: the predicted one",
        "example": "0",
    },
    "include": {
        "schema": {"type": "string"},
        "description": "comma list of batch_gradient, input_gradient, activations",
    },
    "format": {
        "schema": {"type": "string", "enum": ["json", "svg"]},
        "description": "svg: a plot; default: by Accept, else json",
    },
}

SEVERAL_MODELS: Final[dict[str, Any]] = {
    "schema": {"type": "array", "items": {"type": "string"}, "minItems": 2},
    "description": "two models or more, each as name or name@version",
    "example": TWO_MODELS,
}


def in_query(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of `PARAMETERS`, or what `number` gives, as a parameter of the query."""
    return {"name": name, "in": "query", "required": False, **one}


def number(description: str, **schema: Any) -> dict[str, Any]:
    """A numeric parameter; `schema` has its default and bounds, and its type where that is no fraction."""
    return {"schema": {"type": "number", **schema}, "description": description}


# ---------------------------------------------------------------- bodies

BYTES: Final[dict[str, Any]] = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}

_LABEL: Final[dict[str, Any]] = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}

_JSON_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    {"type": "string", "contentEncoding": "base64"},
                    {"$ref": f"#/components/schemas/{LabelledImage.__name__}"},
                ]
            },
        },
        "labels": {"type": "array", "items": _LABEL},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "top_k": {"type": "integer", "minimum": 1},
        "include": {"type": "string"},
    },
}

_MULTIPART_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {"type": "array", "minItems": 1, "items": BYTES},
        "labels": {
            "type": "array",
            "items": {"type": "string"},
            "description": "one label for all images or one for each",
            "example": ["0"],
        },
    },
}
"""Other options may be parts too; they are not listed, since forms send every part that they know of."""

BODY: Final = (
    "One image as the raw body: its bytes say what it is, so that any content type will do which is not one of the "
    "other two (`image/jpeg`, or none). Several images: as files of a form, whatever their fields are called, or in "
    "JSON, in base64 or as data URLs. `Content-Encoding: gzip` and `deflate` are taken.\n\n"
    "An image is a JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF. Transparency is laid over white, EXIF orientation is "
    "applied, of an animation the first frame is taken, greys of more than 8 bits are scaled; docs/pictures.md has "
    "every rule."
)


def image_request(
    *parameters: str, thresholds: bool = False, example: Mapping[str, Any] | None = None, **own: dict[str, Any]
) -> dict[str, Any]:
    """`openapi_extra` of an endpoint that takes images: the body's forms, and what may be asked beside the usual.

    Args:
        parameters: names in `PARAMETERS`.
        thresholds: whether numbers may also stand together in the object `thresholds` of a JSON body.
        example: a JSON body that any model answers; default: one image.
        own: further ones by name, as `number` gives them; they may stand in the query or in a JSON body.
    """
    every = {name: PARAMETERS[name] for name in ("model", "version", "top_k", *parameters)} | own
    fields = {name: one["schema"] | {"description": one["description"]} for name, one in own.items()}
    numbers = {name: field for name, field in fields.items() if field["type"] == "number"}
    together = {"thresholds": {"type": "object", "properties": numbers}} if thresholds else {}
    return {
        "parameters": [*(in_query(name, one) for name, one in every.items()), DEADLINE],
        "requestBody": {
            "required": True,
            "description": BODY,
            "content": {
                "application/json": {
                    "schema": _JSON_BODY | {"properties": _JSON_BODY["properties"] | fields | together},
                    "example": example or {"images": [PICTURE]},
                },
                "application/octet-stream": {"schema": BYTES},
                "multipart/form-data": {"schema": _MULTIPART_BODY},
            },
        },
    }


def names_of(request: Mapping[str, Any]) -> frozenset[str]:
    """The options that `image_request` documents, in the query or in a body; `label` is always taken."""
    bodies = [content["schema"].get("properties", {}) for content in request["requestBody"]["content"].values()]
    query = [one["name"] for one in request["parameters"] if one["in"] == "query"]
    return frozenset({"label"}.union(*bodies, query))
