"""The OpenAPI document has nothing that generators stumble over, and its examples work as they are."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from bench.examples import answers, operations, sent_as_documented
from service.http.answers.openapi import MEANINGS, PROTOCOL_MEANINGS
from service.http.documentation.examples import ANSWERS
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, running
from tests.service.tiny_bundles import write_bundle

SHIPPED = Path(__file__).parents[4] / "models" / "bundles"

OF_THE_MOMENT = {
    *("milliseconds_per_image", "best_batch", "state", "count", "ns", "last_inference", "inference_count"),
    *("execution_count", "batch_size", "version", "execution_provider", "execution_provider_reason"),
}
"""Members of answers that depend on when and where they were given."""

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document(tiny_server: LiveServer) -> Json:
    document: Json = httpx.get(f"{tiny_server.url}/openapi.json", timeout=PATIENCE_SECONDS).json()
    return document


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of the two models of which the document shows answers."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in ("plain20", "resnet20"):
        (folder / name).symlink_to(SHIPPED / name)
    with running(folder, default_model="resnet20") as server:
        yield server


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


def test_it_is_an_openapi_document(document: Json) -> None:
    assert list(Draft202012Validator(OPENAPI_31).iter_errors(document)) == []


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
        document = httpx.get(f"{tiny_server.url}/openapi.json", headers=headers, timeout=PATIENCE_SECONDS).json()
        assert [server["url"] for server in document["servers"]] == ["."]
        assert "evil" not in str(document)


def test_every_answer_is_declared_with_its_type_and_headers(document: Json) -> None:
    for _, path, operation in operations(document):
        answers = {status: resolved(document, answer) for status, answer in operation["responses"].items()}
        assert set(answers) == {"200", "default"}, path
        for status, answer in answers.items():
            assert {"X-Request-Id", "Traceparent", "Server-Timing"} <= set(answer["headers"]), (path, status)
            assert all(content["schema"] for content in answer["content"].values()), (path, status)
        if path.startswith("/diagnostics/"):
            png = {"image/png"} if path == "/diagnostics/explain" else set()
            assert set(answers["200"]["content"]) == {"application/json", "image/svg+xml"} | png


def test_one_error_is_shared_by_all_operations_and_one_by_those_of_the_protocol(document: Json) -> None:
    shared = {"": ("Error", "application/problem+json", MEANINGS)}
    shared["/v"] = ("ProtocolError", "application/json", PROTOCOL_MEANINGS)
    for _, path, operation in operations(document):
        name, kind, meanings = shared["/v" if path.startswith(("/v1/", "/v2")) else ""]
        assert operation["responses"]["default"] == {"$ref": f"#/components/responses/{name}"}
        error = document["components"]["responses"][name]
        assert set(error["content"]) == {kind}
        assert {"Retry-After", "WWW-Authenticate", "Allow"} <= set(error["headers"])
        assert all(f"| {status} | {meaning} |" in error["description"] for status, meaning in meanings.items())


def test_every_field_and_every_parameter_says_what_it_is(document: Json) -> None:
    unsaid: list[Any] = []
    for name, schema in document["components"]["schemas"].items():
        unsaid += [
            f"{name}.{field}" for field, one in schema.get("properties", {}).items() if not one.get("description")
        ]
        unsaid += [name] if schema.get("properties") and not schema.get("description") else []
    for _, path, operation in operations(document):
        unsaid += [(path, one["name"]) for one in operation.get("parameters", []) if not one.get("description")]
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            fields = content["schema"].get("properties", {})
            unsaid += [(path, kind, field) for field, one in fields.items() if not one.get("description")]
    assert unsaid == []


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
        elif path.endswith((":explain", "/index")):
            assert set(forms) == {"application/json"}
        else:
            assert not forms, path
        if "application/octet-stream" in forms:
            assert forms["application/octet-stream"]["schema"]["format"] == "binary"


def test_the_examples_of_every_operation_work_and_get_the_answers_shown(shipped: LiveServer) -> None:
    """Compare all that does not depend on the moment. If the answers shown are stale: `python -m bench.examples`."""
    with httpx.Client(base_url=shipped.url, timeout=120) as client:
        document = client.get("/openapi.json").json()
        now = answers(client)
    assert_alike(json.loads(ANSWERS.read_bytes()), now)
    for _, path, operation in operations(document):
        for content in operation["responses"]["200"]["content"].values():
            if "example" in content:
                schema = {**content["schema"], "components": document["components"]}
                assert list(Draft202012Validator(schema).iter_errors(content["example"])) == [], path


def assert_alike(shown: Any, now: Any, where: str = "") -> None:
    """Check that two answers have the same members and entries, words apart from numbers, and close numbers."""
    if isinstance(shown, dict):
        assert set(shown) == set(now), where
        for key in set(shown) - OF_THE_MOMENT:
            assert_alike(shown[key], now[key], f"{where}.{key}")
    elif isinstance(shown, list):
        assert len(shown) == len(now), where
        for index, (one, other) in enumerate(zip(shown, now, strict=True)):
            assert_alike(one, other, f"{where}[{index}]")
    elif isinstance(shown, float):
        assert shown == pytest.approx(now, rel=1e-2, abs=1e-6), where
    elif isinstance(shown, str) and not shown.startswith("data:"):
        one, other = (re.sub(r"[\d.]+", "#", text.partition("\n")[0]) for text in (shown, now))
        assert one == other, where
    else:
        assert type(shown) is type(now), where


def test_examples_name_the_default_model_and_another_or_none_where_none_is_served(
    tiny_server: LiveServer, tmp_path: Path
) -> None:
    compared = ["paths", "/diagnostics/compare", "post", "requestBody", "content", "application/json", "example"]

    def looked_up(url: str) -> tuple[Any, Any]:
        document: Any = httpx.get(f"{url}/openapi.json", timeout=PATIENCE_SECONDS).json()
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
    assert "securitySchemes" not in document["components"]
    assert not any("security" in operation for _, _, operation in operations(document))
    write_bundle(tmp_path, "secret-name")
    digest = "sha256:" + hashlib.sha256(b"open").hexdigest()
    with running(tmp_path, api_keys=(digest,)) as server, server.client() as client:
        answer = client.get("/openapi.json")
        assert set(answer.json()["components"]["securitySchemes"]) == {"bearer", "api_key"}
        assert "secret-name" not in answer.text, "strangers may read the documentation, but learn no names"
        for path in ("/docs", "/docs/verdicts", "/docs/glossary", "/redoc", "/static/docs.js", "/favicon.ico"):
            assert client.get(path).status_code == 200, path
        for method, path, operation in operations(answer.json()):
            free = client.request(method, path.replace("{name}", "secret-name").replace("{version}", "1"))
            assert (free.status_code == 401) == bool(operation["security"]), path
        headers = [{"Authorization": "Bearer open"}, {"X-API-Key": "open"}]
        assert [client.get("/models", headers=header).status_code for header in headers] == [200, 200]
