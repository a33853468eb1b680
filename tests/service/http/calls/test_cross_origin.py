"""Headers for pages of other origins, over a socket; `clients/test_browser_elsewhere.py` asks a browser."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.live_server import LiveServer, picture, running
from tests.service.raw_http import CLOSE, head, post, talk
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
KEY = "open sesame"
DIGEST = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
APP = "https://app.example.com"
ORIGIN = {"Origin": APP}
ALLOWED = "access-control-allow-origin"
ASKS = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """It wants keys, answers under a prefix too, and has one origin given with the port that browsers leave out."""
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    origins = f"{APP.upper()}:443, capacitor://localhost"
    with running(folder, cors_origins=origins, api_keys=(DIGEST,), root_path="/vision", max_body_bytes=4096) as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


ANSWERS = {
    "an answer": (("POST", "/predict", RED, {"X-API-Key": KEY}), 200),
    "no key": (("POST", "/predict", RED, {}), 401),
    "too large": (("POST", "/predict", bytes(5000), {"X-API-Key": KEY}), 413),
    "no picture": (("POST", "/predict", b"?", {"X-API-Key": KEY}), 415),
    "no address": (("GET", "/nowhere", b"", {"X-API-Key": KEY}), 404),
    "no method": (("PUT", "/predict", b"", {"X-API-Key": KEY}), 405),
    "a file": (("GET", "/static/page.css", b"", {}), 200),
    "under the prefix": (("POST", "/vision/predict", RED, {"X-API-Key": KEY}), 200),
}


@pytest.mark.parametrize(("request_", "status"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_may_be_read_by_pages_of_the_origin(
    client: httpx.Client, request_: tuple[str, str, bytes, dict[str, str]], status: int
) -> None:
    method, path, body, headers = request_
    answer = client.request(method, path, content=body, headers={**headers, **ORIGIN})
    assert (answer.status_code, answer.headers[ALLOWED]) == (status, APP)
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {"x-request-id", "server-timing", "retry-after", "inference-header-content-length"} <= set(exposed)
    assert "origin" in answer.headers["vary"]
    other = client.request(method, path, content=body, headers={**headers, "Origin": "https://evil.example"})
    assert (other.status_code, other.headers.get(ALLOWED), other.headers["vary"]) == (status, None, "origin")


def test_a_head_that_is_refused_may_be_read_too(server: LiveServer) -> None:
    (answer,) = talk(server, [post(RED, f"Origin: {APP}", "Expect: magic")])
    assert (answer.status, answer.headers[ALLOWED]) == (417, APP)


def test_a_preflight_needs_no_key_and_is_told_what_may_be_sent(client: httpx.Client) -> None:
    answer = client.options("/vision/predict", headers=ASKS)
    assert (answer.status_code, answer.headers[ALLOWED]) == (200, APP)
    assert answer.headers["access-control-allow-methods"] == "OPTIONS, POST"
    named = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"content-type", "content-encoding", "authorization", "x-api-key", "x-request-id"} <= set(named)
    assert {"x-deadline-ms", "traceparent", "tracestate", "inference-header-content-length"} <= set(named)
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "access-control-allow-private-network" not in answer.headers
    private = client.options("/predict", headers={**ASKS, "Access-Control-Request-Private-Network": "true"})
    assert private.headers["access-control-allow-private-network"] == "true"


def test_a_preflight_for_no_address_is_granted_so_that_the_page_sees_the_404(client: httpx.Client) -> None:
    assert client.options("/predicct", headers=ASKS).status_code == 200
    assert client.options("/predicct", headers=ORIGIN).status_code == 404


def test_a_preflight_of_another_origin_is_granted_nothing(client: httpx.Client) -> None:
    for origin in ("https://evil.example", "http://app.example.com", f"{APP}:8443", f"{APP}.evil.example", "null"):
        answer = client.options("/predict", headers={**ASKS, "Origin": origin})
        assert answer.status_code == 200
        assert [name for name in answer.headers if name.startswith("access-control-")] == []


def test_a_service_for_all_tells_everybody_so_and_one_for_none_tells_nobody(tmp_path: Path) -> None:
    for origins in ("*", ""):
        with running(tmp_path / "nothing", cors_origins=origins, loaded=False) as server:
            answers = talk(server, [head("GET /nowhere", CLOSE)]) + talk(server, [b"nonsense\r\n\r\n"])
            preflight = head("OPTIONS /predict", "Origin: null", "Access-Control-Request-Method: POST", CLOSE)
            answers += talk(server, [preflight])
        assert [answer.headers.get(ALLOWED) for answer in answers] == [origins or None] * 3
        assert all("vary" not in answer.headers for answer in answers)
        assert ("access-control-allow-methods" in answers[-1].headers) == bool(origins)
