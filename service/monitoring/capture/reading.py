"""Captured requests read again from files, of either format."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

REPLAYING: Final = "contraflow-replay/"
"""Begins the `User-Agent` of a replay, whose requests are not captured again."""


@dataclass(frozen=True, slots=True)
class CapturedRequest:
    """A request with the answer that it got."""

    id: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Those that say how to read the body."""
    model: str | None
    """The model that answered, as "name@version"."""
    status: int
    latency_ms: float
    body: bytes | None
    """None if it was not kept."""
    answer: bytes
    """JSON, then the binary tensors of the open protocol."""

    def without_contents(self) -> CapturedRequest:
        """Return the request without body and answer, as it is kept in a list."""
        return replace(self, body=None, answer=b"")


def captured_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and of each folder its files that end in .jsonl, the oldest first.

    Raises:
        OSError: a folder cannot be listed.
        ValueError: a folder has no such file.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix == ".jsonl") if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path}: there is no file of captured requests (*.jsonl) in this folder")
        files += inside
    return files


def captured_requests(files: Iterable[Path]) -> Iterator[CapturedRequest | None]:
    """Yield the request of every line; None for a line that is damaged, as the last one after a crash.

    What is written meanwhile is left out, so that reading ends where it would have at the beginning.

    Raises:
        OSError: a file cannot be read.
    """
    sizes = {file: file.stat().st_size for file in files}
    for file, rest in sizes.items():
        with file.open("rb") as stream:
            while line := stream.readline(rest):
                rest -= len(line)
                if line.strip():
                    yield read_line(line)


def read_line(line: bytes) -> CapturedRequest | None:
    """Return the request of one line, a record or a CloudEvent with a record as its data; None if it is neither."""
    try:
        content = json.loads(line)
        record = content["data"] if "specversion" in content else content
        return CapturedRequest(
            id=str(record["id"]),
            method=str(record["method"]),
            path=str(record["path"]),
            query=str(record["query"]),
            headers={str(name): str(value) for name, value in record["headers"].items()},
            model=record["model"],
            status=int(record["status"]),
            latency_ms=float(record["latency_ms"]),
            body=None if record["body"] is None else b64decode(record["body"], validate=True),
            answer=_answer(record),
        )
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def _answer(record: dict[str, Any]) -> bytes:
    if "answer_base64" in record:
        return b64decode(record["answer_base64"], validate=True)
    return json.dumps(record["answer"]).encode()
