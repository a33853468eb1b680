"""Building blocks of the OpenAPI document: image bodies, parameters and errors that endpoints declare.

`service.http.routes.openapi_document` puts the document together. It knows which models are served, and so replaces
the placeholders `A_MODEL`, `ITS_VERSION` and `TWO_MODELS` in examples.
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
"""A PNG of 4×4 pixels in base64, so that examples work as they are."""

# ---------------------------------------------------------------- errors

MEANINGS: Final = {
    400: "Malformed request, or an empty body",
    401: "No valid API key",
    404: "No such model",
    408: "The request did not arrive in time",
    413: "Too many bytes, pixels or images",
    415: "Not an image of a known format, or an unsupported content encoding",
    417: "An unsupported expectation; only 100-continue is supported",
    422: "An image that cannot be decoded, or a parameter that is unknown or out of range",
    429: "The key has used its rate",
    431: "The request's head is over the limit",
    500: "The model failed on this image",
    501: "An unsupported transfer coding; only chunked is supported",
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
"""Errors under /v2, where the open protocol has its own error shape and no status 415 or 422."""


def component_of(status: int, *, protocol: bool = False) -> str:
    """Return the name of the component for an error that many operations answer, e.g. `NotFound`."""
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
"""Errors of an endpoint that takes images."""

PLAIN_ERRORS: Final = _errors(MEANINGS, OF_EVERY_ENDPOINT, protocol=False)
"""Errors of an endpoint that adds none of its own."""

PROTOCOL_ERRORS: Final = _errors(PROTOCOL_MEANINGS, PROTOCOL_MEANINGS, protocol=True)
PLAIN_PROTOCOL_ERRORS: Final = _errors(PROTOCOL_MEANINGS, OF_EVERY_ENDPOINT, protocol=True)

# ---------------------------------------------------------------- parameters

DEADLINE: Final[dict[str, Any]] = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "required": False,
    "schema": {"type": "number", "exclusiveMinimum": 0},
    "description": "milliseconds after which the answer is of no use; default and maximum: the setting deadline_ms",
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
        "description": "index or name of the class; where labels are independent all that apply, with commas between; "
        "default: as predicted",
        "example": "0",
    },
    "include": {
        "schema": {"type": "string"},
        "description": "comma list of batch_gradient, input_gradient, activations",
    },
    "format": {
        "schema": {"type": "string", "enum": ["json", "svg"]},
        "description": "svg: a plot; default: by the Accept header, else json",
    },
}

SEVERAL_MODELS: Final[dict[str, Any]] = {
    "schema": {"type": "array", "items": {"type": "string"}, "minItems": 2},
    "description": "two models or more, each as name or name@version",
    "example": TWO_MODELS,
}


def in_query(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of `PARAMETERS`, or a `numeric_option`, as a parameter of the query."""
    return {"name": name, "in": "query", "required": False, **one}


def numeric_option(description: str, **schema: Any) -> dict[str, Any]:
    """Return a numeric option; `schema` has its default and bounds, and its type if that is integer."""
    return {"schema": {"type": "number", **schema}, "description": description}


# ---------------------------------------------------------------- bodies

BYTES: Final[dict[str, Any]] = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}

_LABEL: Final[list[dict[str, Any]]] = [{"type": "string"}, {"type": "integer", "minimum": 0}]
_FOR_ALL_OR_EACH: Final = (
    "one label for all images or one for each; where labels are independent, an entry holds all that apply"
)

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
        "labels": {
            "type": "array",
            "items": {"anyOf": [*_LABEL, {"type": "array", "items": {"anyOf": _LABEL}}]},
            "description": f"{_FOR_ALL_OR_EACH}, as a list",
        },
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
            "description": f"{_FOR_ALL_OR_EACH}, with commas between",
            "example": ["0"],
        },
    },
}
"""Other options may be parts too. They are not listed, because generated forms send every part that is."""

BODY: Final = (
    "One image: as the raw body. Its bytes decide its format; the content type may be anything but the other two, "
    "e.g. `image/jpeg`, or missing. Several images: as files of a form, with any field names, or in JSON, in base64 or "
    "as data URLs. `Content-Encoding: gzip` and `deflate` are supported.\n\n"
    "An image is a JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF. Transparency is laid over white, EXIF orientation is "
    "applied, the first frame of an animation is used, greys of more than 8 bits are scaled; docs/pictures.md has "
    "every rule."
)


def image_request(
    *parameters: str, thresholds: bool = False, example: Mapping[str, Any] | None = None, **own: dict[str, Any]
) -> dict[str, Any]:
    """Return the `openapi_extra` of an endpoint that takes images: the forms of its body, and its options.

    Args:
        parameters: names in `PARAMETERS`.
        thresholds: if true, the numbers may also be members of the object `thresholds` in a JSON body.
        example: a JSON body that works for any model; default: one image.
        own: further options by name, made by `numeric_option`; they may be in the query or in a JSON body.
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
    """Return the names of the options that `image_request` documents, in the query or a body, and always `label`."""
    bodies = [content["schema"].get("properties", {}) for content in request["requestBody"]["content"].values()]
    query = [one["name"] for one in request["parameters"] if one["in"] == "query"]
    return frozenset({"label"}.union(*bodies, query))
