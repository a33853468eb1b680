"""The OpenAPI document: what the routes declare, and what holds for all of them.

To what FastAPI collects it adds the headers of every answer, the errors as components, the API keys where they are
needed, and examples that name served models. Its only server is `.`, the folder of the document itself, so that it is
right behind a proxy that strips a prefix of the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from service import __version__
from service.bundles.registry import Registry
from service.http.answers.openapi import (
    A_MODEL,
    ITS_VERSION,
    MARKS,
    MEANINGS,
    PROTOCOL_MEANINGS,
    TWO_MODELS,
    component_of,
)
from service.http.answers.schemas import LabelledImage, Problem, ProtocolError
from service.http.calls.access import OPEN_PATHS
from service.http.open_inference.answers import HEADER_LENGTH
from service.http.open_inference.schemas import InferBody

Json = dict[str, Any]

SERVERS: Final[list[Json]] = [{"url": ".", "description": "where this document comes from"}]

HEADERS: Final[dict[str, Json]] = {
    "X-Request-Id": {"schema": {"type": "string"}, "description": "the caller's X-Request-Id, or one of our own"},
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "milliseconds of decode, queue, run and serialize, as far as it came",
    },
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "seconds after which to try again, where that makes sense",
    },
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer"},
    "Inference-Header-Content-Length": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "bytes of JSON at the head of a binary answer; absent otherwise",
    },
}
OF_EVERY_ANSWER: Final = ("X-Request-Id", "Server-Timing")
OF_SOME_ERRORS: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

KEYS: Final[dict[str, Json]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same, in a header of ours"},
}

BESIDES: Final[tuple[type[BaseModel], ...]] = (Problem, ProtocolError, LabelledImage, InferBody)
"""Schemas that are not the `response_model` of any endpoint."""

NOT_FINITE: Final[Json] = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
"""Strings for numbers that JSON cannot write. One schema, or generated clients have one for each such number."""


def operation_id(route: APIRoute) -> str:
    """Return the name of the operation in generated clients: the route's own, e.g. `predict`."""
    return route.name


class OpenApiDocument:
    """The document of one service, made on its first use."""

    def __init__(self, routes: Sequence[BaseRoute], registry: Registry, *, needs_key: bool) -> None:
        """`needs_key`: callers need API keys. Anyone may read the document, so its examples then name no models."""
        self._routes = routes
        self._registry = registry
        self._needs_key = needs_key
        self._document: Json | None = None

    def now(self) -> Json:
        """Return the document, with examples for the models that are served now."""
        if self._document is None:
            self._document = self._put_together()
        examples = {} if self._needs_key else _served(self._registry)
        filled: Json = _with_examples(self._document, examples)
        return filled

    def _put_together(self) -> Json:
        document: Json = get_openapi(title="Contraflow", version=__version__, routes=self._routes, servers=SERVERS)
        components = document["components"]
        schemas = models_json_schema(
            [(model, "serialization") for model in BESIDES], ref_template="#/components/schemas/{model}"
        )[1]["$defs"]
        components["schemas"] = {**components["schemas"], **schemas}
        components["responses"] = dict(_error_responses())
        components["headers"] = HEADERS
        components["securitySchemes"] = KEYS
        for path, operations in document["paths"].items():
            for operation in operations.values():
                self._complete(path, operation)
        tidied: Json = _tidied(document)
        tidied["components"]["schemas"]["NotFinite"] = NOT_FINITE
        return tidied

    def _complete(self, path: str, operation: Json) -> None:
        is_open = path.startswith(OPEN_PATHS)
        for status in ("401", "429") if is_open else ():
            operation["responses"].pop(status, None)
        for status, response in operation["responses"].items():
            if "$ref" not in response:
                binary = "application/octet-stream" in response.get("content", {})
                names = (*OF_EVERY_ANSWER, *OF_SOME_ERRORS.get(int(status), ()))
                response["headers"] = _headers((*names, HEADER_LENGTH.title()) if binary else names)
        if self._needs_key:
            operation["security"] = [] if is_open else [{name: []} for name in KEYS]


def _error_responses() -> Iterator[tuple[str, Json]]:
    for protocol, meanings in ((False, MEANINGS), (True, PROTOCOL_MEANINGS)):
        schema, kind = (ProtocolError, "application/json") if protocol else (Problem, "application/problem+json")
        for status, meaning in meanings.items():
            yield (
                component_of(status, protocol=protocol),
                {
                    "description": meaning,
                    "headers": _headers((*OF_EVERY_ANSWER, *OF_SOME_ERRORS.get(status, ()))),
                    "content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}},
                },
            )


def _headers(names: tuple[str, ...]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _tidied(value: Any) -> Any:
    """Return a copy with one `NotFinite` in place of many, and without defaults of null, which say nothing."""
    if isinstance(value, dict):
        if value.get("enum") == NOT_FINITE["enum"]:
            return {"$ref": "#/components/schemas/NotFinite"}
        return {key: _tidied(item) for key, item in value.items() if not (key == "default" and item is None)}
    return [_tidied(item) for item in value] if isinstance(value, list) else value


def _served(registry: Registry) -> Json:
    """Return the names for the placeholders in examples: the default model if it is served, else another one."""
    models = registry.default_models() or registry.models()
    if not models:
        return {}
    name = models[0].name
    version, kind = [(model.version, model.bundle.label_kind) for model in models if model.name == name][-1]
    alike = [other.name for other in registry.models() if other.name != name and other.bundle.label_kind == kind]
    return {A_MODEL: name, ITS_VERSION: version, TWO_MODELS: [name, *(alike[:1] or [f"{name}@{version}"])]}


def _with_examples(value: Any, examples: Mapping[str, Any]) -> Any:
    """Return a copy with `examples` in place of the placeholders; a placeholder without an example is left out."""
    if isinstance(value, dict):
        return {
            key: _with_examples(item, examples)
            for key, item in value.items()
            if not (isinstance(item, str) and item in MARKS and item not in examples)
        }
    if isinstance(value, list):
        return [_with_examples(item, examples) for item in value]
    return examples.get(value, value) if isinstance(value, str) else value
