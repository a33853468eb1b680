"""The list of rows to measure: a key for each, and a function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from export.coverage.architectures.architecture import Architecture
from export.coverage.architectures.listed import ARCHITECTURES, SAMPLED
from export.coverage.children import Died, OutOfTime, Raised, in_child
from export.coverage.files.equal import drawn
from export.coverage.files.exported import Exports, NotExported
from export.coverage.files.producers import File, files
from export.coverage.rivals import judged
from export.coverage.rows import Row, architecture_row, file_row

BOTH = ("dynamo", "tracing")
ONE_IMAGE = ("dynamo, batch 1", "tracing, batch 1")
MEASURED_WITHIN = 900.0
"""Seconds that one file has."""


def tasks(exports: Exports) -> dict[str, Callable[[], Row]]:
    """Return a function for every row, by the row's key."""
    found: dict[str, Callable[[], Row]] = {}
    for key, architecture in ARCHITECTURES.items():
        for exporter in (*BOTH, *(ONE_IMAGE if key in SAMPLED else ())):
            found[f"{key}, {exporter}"] = partial(_of_architecture, architecture, exporter, exports)
    for file in files():
        found[file.key] = partial(_of_file, file, exports)
    return found


def _of_architecture(architecture: Architecture, exporter: str, exports: Exports) -> Row:
    described: Row = {"package": architecture.package, "name": architecture.name, "by": exporter}
    try:
        path = exports.file(architecture, exporter)
    except NotExported as error:
        return described | {"status": "not exported", "sentence": str(error)}
    serves = architecture.key in SAMPLED and exporter in BOTH
    return described | _measured(exports, path, architecture_row, architecture.key, path, serves)


def _of_file(file: File, exports: Exports) -> Row:
    described: Row = {"package": file.package, "name": file.name, "by": "its package"}
    path = drawn(file.path, exports.folder / "drawn" / f"{file.name}.onnx")
    return described | _measured(exports, path, file_row, file.key, path)


def _measured(exports: Exports, path: Path, function: Callable[..., Any], *arguments: Any) -> Row:
    try:
        row, asked = in_child(function, *arguments, seconds=MEASURED_WITHIN)
    except (OutOfTime, Died, Raised) as error:
        return {"status": "unmeasured", "sentence": str(error), "trace": getattr(error, "trace", "")}
    if asked is not None:
        row["rivals"] = exports.kept(path, lambda: judged(path, asked))
    return dict(row)
