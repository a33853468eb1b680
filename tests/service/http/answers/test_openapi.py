"""The OpenAPI document has nothing that generators stumble over, and its examples work as they are."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.live_server import LiveServer, running
from tests.service.tiny_bundles import write_bundle

SHIPPED = Path(__file__).parents[4] / "models" / "bundles" / "resnet20"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document(tiny_server: LiveServer) -> Json:
    document: Json = httpx.get(f"{tiny_server.url}/openapi.json").json()
    return document


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of one model of ours alone."""
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copytree(SHIPPED, folder / SHIPPED.name)
    with running(folder) as server:
        yield server


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield the method, the path and the description of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def objects(value: Any) -> Iterator[Json]:
    """Yield every JSON object inside `value`, itself included."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def resolved(document: Json, value: Json) -> Json:
    while "$ref" in value:
        target: Any = document
        for key in value["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        value = target
    return value


def test_every_operation_has_a_name_of_its_own_that_reads_as_one(document: Json) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)
    assert {"predict", "gradients", "compare", "shattering", "scores", "features", "infer", "list_models"} <= set(names)


def test_what_a_path_names_is_required_and_never_null(document: Json) -> None:
    for _, path, operation in operations(document):
        inside = [one for one in operation.get("parameters", []) if one["in"] == "path"]
        assert {one["name"] for one in inside} == set(re.findall(r"{(\w+)}", path))
        assert all(one["required"] and one["schema"] == {"type": "string"} for one in inside)


def test_no_parameter_is_a_choice_between_something_and_null(document: Json) -> None:
    for _, path, operation in operations(document):
        for one in operation.get("parameters", []):
            assert "anyOf" not in one["schema"], (path, one["name"])
            assert "type" in one["schema"], (path, one["name"])


def test_every_reference_leads_somewhere_and_no_mark_is_left(document: Json) -> None:
    for one in objects(document):
        if isinstance(one.get("$ref"), str):
            assert resolved(document, one)
    assert "{the name" not in str(document)
    assert "HTTPValidationError" not in document["components"]["schemas"], "no answer of ours has that shape"


def test_no_default_is_null(document: Json) -> None:
    assert [one for one in objects(document) if "default" in one and one["default"] is None] == []


def test_the_server_is_wherever_the_document_is_whatever_a_header_says(tiny_server: LiveServer) -> None:
    for headers in ({}, {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example"}):
        document = httpx.get(f"{tiny_server.url}/openapi.json", headers=headers).json()
        assert [server["url"] for server in document["servers"]] == ["."]
        assert "evil" not in str(document)


def test_every_answer_is_declared_with_its_type_and_headers(document: Json) -> None:
    for method, path, operation in operations(document):
        answers = {status: resolved(document, answer) for status, answer in operation["responses"].items()}
        assert any(status.startswith("2") for status in answers), path
        for status, answer in answers.items():
            assert {"X-Request-Id", "Server-Timing"} <= set(answer["headers"]), (path, status)
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503")), (path, status)
            kinds = set(answer["content"])
            assert all(content["schema"] for content in answer["content"].values()), (path, status)
            if status >= "400":
                expected = "application/json" if path.startswith("/v2") else "application/problem+json"
                assert kinds == {expected}, (path, status)
            elif path.startswith("/diagnostics/"):
                assert kinds == {"application/json", "image/svg+xml"}
        assert {"400", "417", "431", "500", "501", "503", "505"} <= set(answers), (method, path)
        assert ({"401", "429"} <= set(answers)) == ("/health/" not in path), path


def test_a_picture_may_be_sent_in_three_forms_and_a_tensor_in_two(document: Json) -> None:
    for _, path, operation in operations(document):
        forms = operation.get("requestBody", {}).get("content", {})
        if path == "/predict" or path.startswith("/diagnostics/"):
            assert set(forms) == {"application/json", "application/octet-stream", "multipart/form-data"}
            images = forms["multipart/form-data"]["schema"]["properties"]["images"]
            assert (images["type"], images["items"]["format"]) == ("array", "binary")
        elif path.endswith("/infer"):
            assert set(forms) == {"application/json", "application/octet-stream"}
            assert "inputs" in resolved(document, forms["application/json"]["schema"])["properties"]
        else:
            assert not forms, path
        if "application/octet-stream" in forms:
            assert forms["application/octet-stream"]["schema"]["format"] == "binary"


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
    return client.request(method, path, params=query, json=example)


def test_the_examples_of_every_operation_work_as_they_are(shipped: LiveServer) -> None:
    """Only one model is served, so the example of a comparison compares it with one of its versions."""
    with httpx.Client(base_url=shipped.url, timeout=120) as client:
        document = client.get("/openapi.json").json()
        for method, path, operation in operations(document):
            answer = sent_as_documented(client, method, path, operation)
            assert answer.status_code == 200, (path, answer.text[:300])
            kind = answer.headers["content-type"].split(";")[0]
            assert kind in operation["responses"]["200"]["content"], path


def test_examples_name_the_default_model_and_another_or_none_where_none_is_served(
    tiny_server: LiveServer, tmp_path: Path
) -> None:
    compared = ["paths", "/diagnostics/compare", "post", "requestBody", "content", "application/json", "example"]

    def looked_up(url: str) -> tuple[Any, Any]:
        document: Any = httpx.get(f"{url}/openapi.json").json()
        name = document["paths"]["/models/{name}"]["get"]["parameters"][0].get("example")
        for key in compared:
            document = document[key]
        return name, document.get("model")

    assert looked_up(tiny_server.url) == ("other", ["other", "tiny"])
    with running(tmp_path) as empty:
        assert looked_up(empty.url) == (None, None)
        write_bundle(tmp_path, "late")
        empty.state.loader.refresh()
        assert looked_up(empty.url) == ("late", ["late", "late@1"])


@pytest.mark.parametrize(("wanted", "named"), [("typo", "colour"), ("colour@1", "colour"), ("other", "other")])
def test_the_document_is_there_whatever_the_default_model_is_and_its_examples_work(
    tmp_path: Path, wanted: str, named: str
) -> None:
    for name, version in (("colour", "1"), ("colour", "2"), ("other", "1")):
        write_bundle(tmp_path, name, version=version)
    with running(tmp_path, default_model=wanted) as server, server.client() as client:
        answer = client.get("/openapi.json")
        assert answer.status_code == 200
        for method, path, operation in operations(answer.json()):
            if "/models/{name}" in path:
                assert operation["parameters"][0]["example"] == named
                if method == "get":
                    assert sent_as_documented(client, method, path, operation).status_code == 200, path


def test_keys_are_declared_and_needed_where_the_settings_say_so(document: Json, tmp_path: Path) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}
    assert not any("security" in operation for _, _, operation in operations(document))
    write_bundle(tmp_path, "secret-name")
    digest = "sha256:" + hashlib.sha256(b"open").hexdigest()
    with running(tmp_path, api_keys=(digest,)) as server, server.client() as client:
        answer = client.get("/openapi.json")
        assert "secret-name" not in answer.text, "strangers may read the documentation, but learn no names"
        for path in ("/docs", "/redoc", "/static/docs.js", "/favicon.ico"):
            assert client.get(path).status_code == 200, path
        for method, path, operation in operations(answer.json()):
            free = client.request(method, path.replace("{name}", "secret-name").replace("{version}", "1"))
            assert (free.status_code == 401) == bool(operation["security"]), path
        headers = [{"Authorization": "Bearer open"}, {"X-API-Key": "open"}]
        assert [client.get("/models", headers=header).status_code for header in headers] == [200, 200]
