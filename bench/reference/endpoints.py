"""The OpenAPI document of the service as Markdown: every endpoint, and every field of its bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from bench.reference.fields import described, fields, names_below
from bench.reference.markdown import cell, code, linked, paragraphs, sentence, table_of
from bench.reference.types import NOT_FINITE, Json, link_to, name_in, type_of
from service.app import create_app
from service.http.answers.openapi import MEANINGS, PROTOCOL_MEANINGS
from service.settings.fields import Settings

WITH_VERSION: Final = "/versions/{version}"
"""Part of the path of an operation that is the same as the one without."""

DEFAULT: Final = re.compile(r"(?:^|; )default(?: and maximum)?: (?P<default>.*)$")

SENDING: Final = "[Sending images](#sending-images)"


@cache
def document() -> Json:
    """Return the OpenAPI document of a service that has every endpoint."""
    settings = Settings(model_control="explicit", shadow="model@2", execution_provider="cpu")
    document: Json = create_app(settings, sources=[]).service.openapi_document()
    return document


def headers() -> str:
    """Return the table of the headers that an answer may have."""
    rows = document()["components"]["headers"].items()
    return table_of(("header", "what it says"), ((code(name), cell(one["description"])) for name, one in rows))


def statuses() -> str:
    """Return the table of the statuses of errors, in both of their shapes."""
    return table_of(
        ("status", "when", "below /v1 and /v2"),
        ((code(status), cell(text), _of_protocol(status)) for status, text in MEANINGS.items()),
    )


def _of_protocol(status: int) -> str:
    text = PROTOCOL_MEANINGS.get(status)
    if text is None:
        return "never: 400 in its place"
    return "the same" if text == MEANINGS[status] else cell(text)


def endpoints() -> str:
    """Return a section for each endpoint, by tag, and one for each object that their bodies hold."""
    return "\n\n".join(_Sections(document()).blocks())


class _Sections:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._schemas: Json = document["components"]["schemas"]
        self._shown: set[str] = set()
        self._given = self._reached(name for _, _, one in self._operations() for name in names_below(_body_of(one)))

    def blocks(self) -> Iterator[str]:
        """Yield everything: tags, their endpoints, then the objects within objects."""
        for tag in self._document["tags"]:
            yield f"## {tag['name'].capitalize()}"
            yield cell(tag["description"])
            for method, path, operation in self._operations():
                if operation["tags"] == [tag["name"]] and WITH_VERSION not in path:
                    yield from self._operation(method, path, operation)
        yield "## Objects"
        yield "The fields above refer to these objects, in alphabetical order."
        roots = [name for _, _, one in self._operations() for name in names_below([one["responses"], _body_of(one)])]
        for name in sorted(self._reached(iter(roots)) - self._shown - {NOT_FINITE}):
            yield from self._object(name, level=3)

    def _operations(self) -> Iterator[tuple[str, str, Json]]:
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def _reached(self, names: Iterator[str]) -> set[str]:
        """Return these schemas of the document, and all that they refer to."""
        reached: set[str] = set()
        waiting = [name for name in names if name in self._schemas]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += [one for one in names_below(self._schemas[name]) if one in self._schemas]
        return reached

    def _operation(self, method: str, path: str, operation: Json) -> Iterator[str]:
        yield f"### {method} {path}"
        yield from paragraphs(operation["description"])
        if (versioned := _with_version(path)) != path and versioned in self._document["paths"]:
            yield f"`{method} {versioned}` asks for one version; without it, the highest answers."
        yield from self._request(operation)
        yield from self._answers(operation)

    def _request(self, operation: Json) -> Iterator[str]:
        parameters = operation.get("parameters", [])
        contents = _body_of(operation)
        body: Json = contents.get("application/json", {}).get("schema", {})
        takes_images = "multipart/form-data" in contents
        if parameters:
            yield "**Parameters**" + (f"; those in the query may also stand in the body: see {SENDING}" * takes_images)
            yield table_of(
                ("name", "in", "type", "default", "meaning"),
                (_parameter(one, body.get("properties", {}).get(one["name"], {})) for one in parameters),
            )
        if not contents:
            return
        if takes_images:
            named = {one["name"] for one in parameters}
            own = {name: one for name, one in body["properties"].items() if name not in named}
            yield f"**Body**: one image or several, as {SENDING} says. A JSON body has these members besides:"
            yield fields({**body, "properties": own}, is_given=True)
            return
        text = operation["requestBody"].get("description", "")
        yield f"**Body**: {linked(text)}" if text else "**Body**"
        yield from self._shape(body, is_given=True)

    def _answers(self, operation: Json) -> Iterator[str]:
        for status, answer in operation["responses"].items():
            if status == "default":
                continue
            contents: Json = answer.get("content", {})
            kinds = ", ".join(code(kind) for kind in contents)
            text = answer["description"]
            said = "" if text == "Successful Response" else f": {sentence(text)}"
            yield f"**Answer** {status}" + (f", {kinds}" if kinds else "") + (said or ".")
            if schema := contents.get("application/json", {}).get("schema"):
                yield from self._shape(schema, is_given=False)

    def _shape(self, schema: Json, *, is_given: bool) -> Iterator[str]:
        """Yield the section of a named schema where it is first met, and else a link to it, or its own fields."""
        name = name_in(schema)
        if name is None and (name := name_in(schema.get("items", {}))) is not None:
            yield f"It is an array of {link_to(name)}."
        elif name is None:
            yield fields(schema, is_given=is_given)
        elif name in self._shown:
            yield f"It is the object {link_to(name)}."
        if name is not None and name not in self._shown:
            yield from self._object(name, level=4)

    def _object(self, name: str, level: int) -> Iterator[str]:
        self._shown.add(name)
        yield from described(name, self._schemas[name], level, is_given=name in self._given)


def _body_of(operation: Json) -> Json:
    content: Json = operation.get("requestBody", {}).get("content", {})
    return content


def _with_version(path: str) -> str:
    name = "/models/{name}"
    return path.replace(name, name + WITH_VERSION)


def _parameter(one: Json, in_body: Json) -> tuple[str, ...]:
    """Return the row of a parameter; its default stands in words at the end of its description, or in the body."""
    text, default = one.get("description", ""), ""
    if match := DEFAULT.search(text):
        text, default = text[: match.start()], match["default"]
    stated: Any = in_body.get("default")
    if one.get("required"):
        default = "**required**"
    elif isinstance(stated, int | float):
        default = f"{stated:.6g}"
    return code(one["name"]), one["in"], type_of(one["schema"]), cell(default), cell(text)
