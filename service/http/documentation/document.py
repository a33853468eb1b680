"""The OpenAPI document: what the routes declare, and what holds for all of them.

To what FastAPI collects it adds the introduction, the headers of every answer, the one error that every operation may
answer, the API keys where they are needed, and examples. Its only server is `.`, the folder of the document itself, so
that it is right behind a proxy that strips a prefix of the path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from service import __version__
from service.bundles.registry import Registry
from service.http.answers.openapi import MEANINGS, PROTOCOL_MEANINGS
from service.http.answers.responses import is_of_protocol
from service.http.answers.schemas import LabelledImage, Problem, ProtocolError
from service.http.calls.access import Access
from service.http.documentation.examples import answers, filled, pictures, served_names
from service.http.documentation.introduction import TAGS, introduction
from service.http.open_inference.answers import HEADER_LENGTH
from service.http.open_inference.schemas import InferBody, RepositoryBody, RepositoryIndexBody, UnloadBody
from service.settings.fields import Settings

Json = dict[str, Any]

SUMMARY: Final = "Image classifiers, read in both directions: labels forwards, per-layer gradients backwards."
SERVERS: Final[list[Json]] = [{"url": ".", "description": "where this document comes from"}]

HEADERS: Final[dict[str, Json]] = {
    "X-Request-Id": {
        "schema": {"type": "string"},
        "description": "the caller's X-Request-Id, if that is at most 128 letters, digits and ._:;=+/@-; else one of "
        "our own",
    },
    "Traceparent": {
        "schema": {"type": "string"},
        "description": "the trace that the request belongs to (W3C Trace Context), if the caller sent one or the "
        "service records traces",
    },
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "milliseconds of decode, queue, run and serialize, as far as it came",
    },
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "seconds after which to try again, where that makes sense: with 429 and 503",
    },
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer, with 401"},
    "Allow": {"schema": {"type": "string"}, "description": "the methods that the address takes, with 405"},
    HEADER_LENGTH.title(): {
        "schema": {"type": "integer", "minimum": 1},
        "description": "bytes of JSON at the head of a binary answer; absent otherwise",
    },
}
OF_EVERY_ANSWER: Final = ("X-Request-Id", "Traceparent", "Server-Timing")
OF_ERRORS: Final = (*OF_EVERY_ANSWER, "Retry-After", "WWW-Authenticate", "Allow")

KEYS: Final[dict[str, Json]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, as `Authorization: Bearer KEY`"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same, in a header of ours"},
}

BESIDES: Final[tuple[type[BaseModel], ...]] = (Problem, ProtocolError, LabelledImage, InferBody, RepositoryIndexBody)
"""Schemas that are not the `response_model` of any endpoint."""

BY_NAME: Final[tuple[type[BaseModel], ...]] = (RepositoryBody, UnloadBody)
"""Schemas of bodies that are needed where models are loaded by name."""

NOT_FINITE: Final[Json] = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
"""Strings for numbers that JSON cannot write. One schema, or generated clients have one for each such number."""


def operation_id(route: APIRoute) -> str:
    """Return the name of the operation in generated clients: the route's own, e.g. `predict`."""
    return route.name


class OpenApiDocument:
    """The document of one service, made on its first use."""

    def __init__(self, routes: Sequence[BaseRoute], registry: Registry, settings: Settings, access: Access) -> None:
        self._routes = routes
        self._registry = registry
        self._settings = settings
        self._access = access
        self._document: Json | None = None
        self._pictures: dict[str, str] = {}

    def now(self) -> Json:
        """Return the document, with examples for the models that are served now.

        Where callers need keys the examples name none, because anyone may read the document.
        """
        if self._document is None:
            self._document, self._pictures = self._put_together(), pictures()
        names = {} if self._settings.asks_for_keys else served_names(self._registry)
        document: Json = filled(self._document, {**self._pictures, **names})
        return document

    def _put_together(self) -> Json:
        document: Json = get_openapi(
            title="Contraflow",
            version=__version__,
            summary=SUMMARY,
            description=introduction(self._settings),
            tags=[{"name": name, "description": description} for name, description in TAGS.items()],
            routes=self._routes,
            servers=SERVERS,
        )
        components = document["components"]
        bodies = (*BESIDES, *(BY_NAME if self._settings.model_control == "explicit" else ()))
        schemas = models_json_schema(
            [(model, "serialization") for model in bodies], ref_template="#/components/schemas/{model}"
        )[1]["$defs"]
        known_answers = answers()
        components["schemas"] = {**components["schemas"], **schemas}
        components["headers"] = HEADERS
        components["responses"] = {
            "Error": _error(MEANINGS, Problem, "application/problem+json", known_answers),
            "ProtocolError": _error(PROTOCOL_MEANINGS, ProtocolError, "application/json", known_answers),
        }
        if self._access.asks:
            components["securitySchemes"] = KEYS
        for path, operations in document["paths"].items():
            for operation in operations.values():
                self._complete(path, operation, known_answers)
        tidied: Json = _tidied(document)
        tidied["components"]["schemas"]["NotFinite"] = NOT_FINITE
        return tidied

    def _complete(self, path: str, operation: Json, known_answers: Mapping[str, Any]) -> None:
        """Add to an operation what holds for all: headers, its answer to the example, the error, the keys."""
        for response in operation["responses"].values():
            content = response.get("content", {})
            binary = "application/octet-stream" in content
            response["headers"] = _headers((*OF_EVERY_ANSWER, HEADER_LENGTH.title()) if binary else OF_EVERY_ANSWER)
            for kind in ("application/json", "text/plain"):
                if kind in content and operation["operationId"] in known_answers:
                    content[kind]["example"] = known_answers[operation["operationId"]]
        error = "ProtocolError" if is_of_protocol(path) else "Error"
        operation["responses"]["default"] = {"$ref": f"#/components/responses/{error}"}
        if self._access.asks:
            operation["security"] = [{name: []} for name in KEYS] if self._access.needs_key("GET", path) else []


def _error(meanings: Mapping[int, str], schema: type[BaseModel], kind: str, known_answers: Mapping[str, Any]) -> Json:
    """Return the error that every operation may answer, with a table of its statuses."""
    rows = "\n".join(f"| {status} | {meaning} |" for status, meaning in meanings.items())
    content: Json = {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}
    return {
        "description": f"An error; its status says which.\n\n| status | when |\n|---|---|\n{rows}",
        "headers": _headers(OF_ERRORS),
        "content": {kind: content | {"example": known_answers.get(schema.__name__, {})}},
    }


def _headers(names: tuple[str, ...]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _tidied(value: Any) -> Any:
    """Return a copy with one `NotFinite` in place of many, and without defaults of null, which say nothing."""
    if isinstance(value, dict):
        if value.get("enum") == NOT_FINITE["enum"]:
            return {"$ref": "#/components/schemas/NotFinite"}
        return {key: _tidied(item) for key, item in value.items() if not (key == "default" and item is None)}
    return [_tidied(item) for item in value] if isinstance(value, list) else value
