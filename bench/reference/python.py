"""The names of `import contraflow`: signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from textwrap import indent
from typing import Any, Final

import contraflow
from bench.reference.markdown import cell, code, paragraphs, table_of
from contraflow import ContraflowError, MeasuredGradients, Model, differentiate, load

METHODS: Final = ("predict", "gradients", "check", "explain")

SECTION: Final = re.compile(r"^(Args|Attributes|Returns|Raises):\n?", re.MULTILINE)
ENTRY: Final = re.compile(r"^(?P<names>\**[\w, ]+): (?P<text>.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
"""One argument, attribute or error of a section, with the lines indented below it."""

ANSWERS: Final = {"Predictions": "predictions", "Verdict": "verdict", "Explanations": "explanations"}
"""Classes of answers → their section on the page of endpoints."""

HEADERS: Final = {"Args": "argument", "Attributes": "attribute", "Raises": "error"}


def names() -> str:
    """Return a section for each name.

    Raises:
        ValueError: a name has none.
    """
    sections = {
        "load": [*_function("load", load)],
        "Model": [*_class("Model", Model, METHODS)],
        "MeasuredGradients": [*_class("MeasuredGradients", MeasuredGradients, ("to_pandas",))],
        "differentiate": [*_function("differentiate", differentiate)],
        "ContraflowError": [*_class("ContraflowError", ContraflowError, ())],
        "__version__": ["## \\_\\_version\\_\\_", "The version of the package, as `contraflow version` prints it."],
    }
    if set(sections) != set(contraflow.__all__):
        raise ValueError(f"there must be a section for each of {', '.join(contraflow.__all__)}")
    return "\n\n".join(block for blocks in sections.values() for block in blocks)


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    yield f"## {name}"
    yield _signature(f"contraflow.{name}", function)
    yield from _docstring(function)


def _class(name: str, class_: type, methods: tuple[str, ...]) -> Iterator[str]:
    yield f"## {name}"
    yield from _docstring(class_)
    for method in methods:
        function = getattr(class_, method)
        yield f"### {name}.{method}"
        yield _signature(method, function)
        yield from _docstring(function)
        returned = str(function.__annotations__["return"])
        if returned in ANSWERS:
            yield f"It returns {_answer(returned)}, with the same fields as in JSON, as attributes."


def _answer(name: str) -> str:
    return f"[{name}](endpoints.md#{ANSWERS[name]})"


def _signature(name: str, function: Callable[..., Any]) -> str:
    """Return the signature as it is written in the code, an argument a line."""
    signature = inspect.signature(function)
    kept = [one for one in signature.parameters.values() if one.name != "self"]
    lines, has_star = [], False
    for one in kept:
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not has_star:
            lines.append("*")
            has_star = True
        lines.append(
            str(one).replace("'", "").replace("numpy_helper.", "") if one.default is one.empty else _stated(one)
        )
    inner = "".join(f"    {line},\n" for line in lines)
    body = (
        f"{name}(\n{inner}) -> {signature.return_annotation}" if lines else f"{name}() -> {signature.return_annotation}"
    )
    return indent(body, "    ")


def _stated(one: inspect.Parameter) -> str:
    """Return an argument with its type and default; a default that is a function by its name."""
    default = getattr(one.default, "__name__", None) or repr(one.default)
    return f"{one.name}: {one.annotation} = {default}"


def _docstring(thing: object) -> Iterator[str]:
    parts = SECTION.split(inspect.getdoc(thing) or "")
    yield from paragraphs(parts[0])
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        yield from _section(title, inspect.cleandoc(f"\n{body}"))


def _section(title: str, text: str) -> Iterator[str]:
    if title == "Returns":
        yield "**Returns**"
        yield from paragraphs(text)
    else:
        rows = ((", ".join(map(code, one["names"].split(", "))), cell(one["text"])) for one in ENTRY.finditer(text))
        yield table_of((HEADERS[title], "meaning"), rows)
