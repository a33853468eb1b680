"""What the OpenAPI document says about bodies and errors that many endpoints share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.schemas import Problem, ProtocolError

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        400: "Malformed request, or an empty body",
        401: "No valid API key",
        404: "No such model",
        408: "The request did not arrive in time",
        413: "Too many bytes, pixels or images",
        415: "Not an image of a known format",
        422: "An image that cannot be decoded, or a parameter that is unknown or out of range",
        429: "Over the key's own rate",
        431: "The request's head is over the limit",
        500: "The model failed on this image",
        503: "Not ready, or too busy; see Retry-After",
        504: "The deadline passed",
    }.items()
}

PROTOCOL_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProtocolError, "description": text}
    for status, text in {
        400: "Not what the protocol says, or an input that cannot be used",
        401: "No valid API key",
        404: "No such model or version",
        408: "The request did not arrive in time",
        413: "Too many bytes, pixels or images",
        422: "Never sent: under /v2 such a request gets 400",
        429: "Over the key's own rate",
        431: "The request's head is over the limit",
        500: "The model failed on this input",
        503: "Not ready, or too busy; see Retry-After",
        504: "The deadline passed",
    }.items()
}
"""Under /v2, where the open protocol has an error shape of its own."""

_LABEL: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}

_BASE64: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}

_JSON_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    _BASE64,
                    {"type": "object", "required": ["data"], "properties": {"data": _BASE64, "label": _LABEL}},
                ]
            },
        },
        "model": {"type": "string"},
        "version": {"type": "string"},
        "top_k": {"type": "integer", "minimum": 1},
        "labels": {"type": "array", "items": _LABEL},
        "include": {"type": "string"},
    },
}

_MULTIPART_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "labels": {"type": "string"},
        "model": {"type": "string"},
    },
}

_PICTURE = (
    "A JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF. Transparency is laid over white, EXIF orientation is applied, of an "
    "animation the first frame is taken, greys of more than 8 bits are scaled; docs/pictures.md has every rule."
)

_RAW_BODY: dict[str, Any] = {"schema": {"type": "string", "format": "binary", "description": _PICTURE}}

PARAMETERS: dict[str, dict[str, Any]] = {
    "model": {"schema": {"type": "string"}, "description": "name, or name@version; default: the default model"},
    "version": {"schema": {"type": "string"}, "description": "default: the highest"},
    "top_k": {"schema": {"type": "integer", "minimum": 1, "default": 5}, "description": "labels to rank"},
    "label": {"schema": {"type": "string"}, "description": "index or name of the class; default: the predicted one"},
    "include": {
        "schema": {"type": "string"},
        "description": "comma list of batch_gradient, input_gradient, activations",
    },
    "format": {
        "schema": {"type": "string", "enum": ["json", "svg"]},
        "description": "svg: a plot; default: by Accept, else json",
    },
}


def image_request(*parameters: str, thresholds: bool = False, **own: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of an endpoint that takes images: the body's forms, and what may be asked beside the usual.

    Args:
        parameters: names in `PARAMETERS`.
        thresholds: whether numbers may also stand together in the object `thresholds` of a JSON body.
        own: further ones by name, as `number` gives them; they may stand in the query or in the body.
    """
    every = {name: PARAMETERS[name] for name in ("model", "version", "top_k", *parameters)} | own
    fields = {name: one["schema"] | {"description": one["description"]} for name, one in own.items()}
    together = {"thresholds": {"type": "object", "properties": fields}} if thresholds else {}
    return {
        "parameters": [{"name": name, "in": "query", "required": False, **one} for name, one in every.items()],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": _RAW_BODY,
                "application/octet-stream": _RAW_BODY,
                "multipart/form-data": {"schema": _with_fields(_MULTIPART_BODY, fields)},
                "application/json": {"schema": _with_fields(_JSON_BODY, fields | together)},
            },
        },
    }


def names_of(request: Mapping[str, Any]) -> frozenset[str]:
    """The options that `image_request` documents, in the query or in a body; `label` is always taken."""
    bodies = [content["schema"].get("properties", {}) for content in request["requestBody"]["content"].values()]
    return frozenset({"label"}.union(*bodies, [one["name"] for one in request["parameters"]]))


def number(description: str, **schema: Any) -> dict[str, Any]:
    """A numeric parameter; `schema` has its default and bounds."""
    return {"schema": {"type": "number", **schema}, "description": description}


def _with_fields(body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return body | {"properties": body["properties"] | fields}
