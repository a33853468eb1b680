"""The answers that the OpenAPI document shows: sends the example of every operation, and keeps what comes back.

`python -m bench.examples` writes service/http/documentation/answers.json. Lists are cut after three or four entries,
texts without spaces after a hundred characters, and numbers after five digits; nothing else is changed. A test compares
the file with answers of the day.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from bench.harness.paths import SHIPPED
from bench.harness.server import service
from service.http.documentation.examples import ANSWERS

MODELS = ("plain20", "resnet20")
DEFAULT = "resnet20"
MOST_ENTRIES = 3
MOST_NUMBERS = 4
"""Entries of a list of numbers or texts: as many as the axes of a weight."""
MOST_CHARACTERS = 100
DIGITS = 5
LINES_OF_METRICS = 12

Json = dict[str, Any]


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield the method, the path and the description of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def sent_as_documented(client: httpx.Client, method: str, path: str, operation: Json) -> httpx.Response:
    """Send what an untouched form would send: examples, else defaults, else nothing."""
    query = httpx.QueryParams()
    for one in operation.get("parameters", []):
        value = one.get("example", one["schema"].get("default"))
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", value)
        elif one["in"] == "query" and value is not None:
            for item in value if isinstance(value, list) else [value]:
                query = query.add(one["name"], str(item))
    example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    headers = {"X-Request-Id": "example"}
    return client.request(method, path, params=query, json=example, headers=headers)


def answers(client: httpx.Client) -> Json:
    """Return, shortened, the answer to the example of each operation by its name, and one error of either shape."""
    found: Json = {}
    for method, path, operation in operations(client.get("/openapi.json").json()):
        answer = sent_as_documented(client, method, path, operation)
        answer.raise_for_status()
        kind = answer.headers["content-type"].split(";")[0]
        if kind == "application/json":
            found[operation["operationId"]] = shortened(answer.json())
        elif kind == "text/plain":
            found[operation["operationId"]] = "\n".join(answer.text.splitlines()[:LINES_OF_METRICS])
    for schema, path in (("Problem", "/predict"), ("ProtocolError", f"/v2/models/{DEFAULT}/infer")):
        refused = client.post(path, content=b"no picture", headers={"X-Request-Id": "example"})
        found[schema] = refused.json()
    return found


def shortened(value: Any) -> Any:
    """Return a copy with at most so many entries, characters and digits."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        nested = any(isinstance(item, dict | list) for item in value)
        return [shortened(item) for item in value[: MOST_ENTRIES if nested else MOST_NUMBERS]]
    if isinstance(value, str) and len(value) > MOST_CHARACTERS and " " not in value:
        return value[:MOST_CHARACTERS] + "…"
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.examples", description=__doc__)
    parser.add_argument("--file", type=Path, default=ANSWERS, help="file that is written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            (Path(folder) / name).symlink_to(SHIPPED / name)
        with (
            service(Path(folder), "--default-model", DEFAULT) as server,
            httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client,
        ):
            text = json.dumps(answers(client), ensure_ascii=False, indent=1)
    options.file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
