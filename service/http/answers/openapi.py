"""Building blocks of the OpenAPI document: image bodies and parameters that endpoints declare, and all errors.

`service.http.documentation` puts the document together. It knows which models are served, and so replaces the
placeholders (`MARKS`) in examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.http.answers.schemas import LabelledImage

A_MODEL: Final = "{the name of a served model}"
ITS_VERSION: Final = "{a version of it}"
TWO_MODELS: Final = "{the names of two served models}"
A_PICTURE: Final = "{a picture in base64}"
ANOTHER_PICTURE: Final = "{another picture in base64}"
MARKS: Final = frozenset({A_MODEL, ITS_VERSION, TWO_MODELS, A_PICTURE, ANOTHER_PICTURE})
"""Placeholders in examples. What they stand for is put in when the document is asked for."""

Responses = dict[int | str, dict[str, Any]]

# ---------------------------------------------------------------- errors

MEANINGS: Final = {
    400: "the request cannot be read, or its body is empty",
    401: "no valid API key",
    404: "nothing at this address, or no such model or version",
    405: "the address does not take this method; `Allow` has those that it takes",
    408: "the request did not arrive in time",
    413: "too many bytes, pixels or images",
    415: "not an image of a known format, or a content encoding that is not supported",
    417: "an expectation other than `100-continue`",
    422: "an image that cannot be decoded, or a parameter that is unknown or out of range",
    429: "the key has used its rate; `Retry-After` says how long to wait",
    431: "the request's head is over the limit",
    500: "the model failed on this input",
    501: "a transfer coding other than chunked, or a method that HTTP does not have",
    503: "not ready, too busy, or short of memory; `Retry-After`, if there is one, says how long to wait",
    504: "the deadline has passed",
    505: "neither HTTP/1.1 nor HTTP/1.0",
}
"""Every status of an error → when it is answered."""

PROTOCOL_MEANINGS: Final = {
    **{status: text for status, text in MEANINGS.items() if status not in (415, 422)},
    400: "not what the protocol says, or an input that cannot be used",
}
"""Errors under /v2, where the open protocol has its own error shape and no status 415 or 422."""

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
    "version": {"schema": {"type": "string"}, "description": "version of the model; default: the highest"},
    "top_k": {"schema": {"type": "integer", "minimum": 1, "default": 5}, "description": "labels to rank"},
    "label": {
        "schema": {"type": "string"},
        "description": "index or name of the class; where labels are independent all that apply, with commas between; "
        "default: as predicted",
    },
    "include": {
        "schema": {"type": "string"},
        "description": "what else to measure: batch_gradient, input_gradient, activations, with commas between",
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
    """Return an entry of `PARAMETERS`, or a `numeric_option`, as a parameter of the query.

    Its default is said in words: forms and generated clients would send a `default`, in every request.
    """
    schema = {key: value for key, value in one["schema"].items() if key != "default"}
    default = one["schema"].get("default")
    in_words = default if isinstance(default, str | None) else f"{default:.3g}"
    description = one["description"] + ("" if in_words is None else f"; default: {in_words}")
    return {"name": name, "in": "query", "required": False, **one, "schema": schema, "description": description}


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
            "description": "image files, each in base64, as a data URL, or with its label",
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
    },
}

_MULTIPART_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["images"],
    "properties": {
        "images": {"type": "array", "minItems": 1, "items": BYTES, "description": "image files"},
        "labels": {
            "type": "array",
            "items": {"type": "string"},
            "description": f"{_FOR_ALL_OR_EACH}, with commas between",
        },
    },
}
"""Other options may be parts too. They are not listed, because generated forms send every part that is."""

BODY: Final = (
    "One image: as the raw body. Its bytes decide its format; the content type may be anything but the other two, "
    "e.g. `image/jpeg`, or missing. Several images: as files of a form, with any field names, or in JSON, in base64 or "
    "as data URLs. `Content-Encoding: gzip` and `deflate` are supported.\n\n"
    "An image is a JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF. Transparency is laid over white, EXIF orientation is "
    "applied, the first frame of an animation is used, greys of more than 8 bits are scaled; "
    "docs/reference/pictures.md has every rule."
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
    every = {name: PARAMETERS[name] for name in ("model", "version", *parameters)} | own
    fields = {name: one["schema"] | {"description": one["description"]} for name, one in every.items()}
    numbers = {name: fields[name] for name in own if fields[name]["type"] == "number"}
    together = {"thresholds": {"type": "object", "properties": numbers, "description": "thresholds by their names"}}
    return {
        "parameters": [*(in_query(name, one) for name, one in every.items()), DEADLINE],
        "requestBody": {
            "required": True,
            "description": BODY,
            "content": {
                "application/json": {
                    "schema": _JSON_BODY
                    | {"properties": _JSON_BODY["properties"] | fields | (together if thresholds else {})},
                    "example": example or {"images": [A_PICTURE]},
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
