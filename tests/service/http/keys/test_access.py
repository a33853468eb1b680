"""Who may call what: API keys, keys for metrics, and a port that is for metrics alone."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.monitoring.finished_request import FinishedRequest
from service.monitoring.request_line import RequestLine
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, best_label, picture, running, wait_until
from tests.service.tiny_bundles import write_bundle

RED = picture("red")


def digest(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    return folder


@pytest.fixture(scope="module")
def server(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service with keys of every kind."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"{digest('named')} alice\n{digest('scrape')} prom metrics\n")
    with running(bundles, api_keys=(digest("first"),), metrics_keys=(digest("other"),), api_keys_file=file) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer third"},
        {"x-api-key": ""},
        {"authorization": "Basic first"},
        {"x-api-key": "scrape"},
    ],
)
def test_who_has_no_key_that_opens_it_is_refused_in_the_shape_of_the_address(
    server: LiveServer, headers: dict[str, str]
) -> None:
    with server.client(headers=headers) as client:
        for answer in (client.post("/predict", content=RED), client.get("/models"), client.get("/nothing")):
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json()["type"].endswith("unauthorized")
        assert client.get("/v2").status_code == 401
        assert client.get("/v2").json().keys() == {"error"}
        assert client.options("/predict").status_code == 200


def test_a_key_opens_everything_in_either_header(server: LiveServer) -> None:
    with server.client() as client:
        for headers in ({"authorization": "Bearer first"}, {"x-api-key": "named"}, {"authorization": "bearer  named"}):
            assert best_label(client.post("/predict", content=RED, headers=headers)) == "red"
            assert client.get("/metrics", headers=headers).status_code == 200


def test_a_key_for_metrics_opens_nothing_else(server: LiveServer) -> None:
    with server.client() as client:
        for key in ("scrape", "other"):
            headers = {"authorization": f"Bearer {key}"}
            assert "contraflow_api_keys 4.0" in client.get("/metrics", headers=headers).text
            assert client.get("/models", headers=headers).json()["detail"] == "This key opens /metrics alone."
            assert client.get("/health/ready", headers=headers).json() == {"ready": True}, "it learns no names"
        assert client.get("/metrics").status_code == 401


def test_what_has_no_secret_needs_no_key(server: LiveServer) -> None:
    with server.client() as client:
        for path in ("/", "/docs", "/docs/verdicts", "/docs/glossary", "/static/js/page.js", "/health/live"):
            assert client.get(path).status_code == 200, path
        assert "set-cookie" not in client.get("/").headers


def test_who_called_is_known_when_the_request_is_over(server: LiveServer) -> None:
    callers: list[str] = []
    lines: list[RequestLine] = []

    def observe(request: FinishedRequest) -> None:
        if request.path == "/predict":
            callers.append(request.context.caller)
            lines.append(RequestLine(request))

    object.__setattr__(server.state, "observers", (observe,))
    with server.client() as client:
        for key in ("first", "named", "none"):
            client.post("/predict", content=RED, headers={"x-api-key": key})
        client.post("/predict", content=RED * 100, headers={"x-api-key": "named"})  # read in a task
    wait_until(lambda: len(callers) == 4)
    object.__setattr__(server.state, "observers", ())
    assert callers == ["", "alice", "", "alice"]
    assert " caller=alice id=" in str(lines[1])
    assert [line.fields().get("caller") for line in lines] == [None, "alice", None, "alice"]
    assert not any(word in f"{line} {line.fields()}" for line in lines for word in ("first", "named", "none"))


def test_a_key_has_its_own_rate_and_one_for_metrics_has_none(bundles: Path) -> None:
    keys: dict[str, Any] = {"api_keys": (digest("first"), digest("second")), "metrics_keys": (digest("scrape"),)}
    with running(bundles, requests_per_second=0.01, **keys) as server, server.client() as client:
        sent = ("first", "first", "second")
        assert [client.get("/models", headers={"x-api-key": key}).status_code for key in sent] == [200, 429, 200]
        refused = client.get("/models", headers={"x-api-key": "first"})
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        for _ in range(2):
            assert client.get("/metrics", headers={"x-api-key": "scrape"}).status_code == 200


def test_keys_for_metrics_alone_leave_the_rest_open(bundles: Path) -> None:
    with running(bundles, metrics_keys=(digest("scrape"),)) as server, server.client() as client:
        assert best_label(client.post("/predict", content=RED)) == "red"
        assert client.get("/health/ready").json()["models"]
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"authorization": "Bearer scrape"}).status_code == 200
        paths = client.get("/openapi.json").json()["paths"]
        assert paths["/metrics"]["get"]["security"]
        assert not paths["/predict"]["post"]["security"]


def test_a_port_of_its_own_has_the_metrics_and_nobody_else_can_take_it(bundles: Path) -> None:
    limits: dict[str, Any] = {"max_connections": 1, "request_timeout": 1, "api_keys": (digest("first"),)}
    with running(bundles, metrics_port=0, **limits) as server:
        metrics = f"http://{server.host}:{server.metrics_port}"
        with httpx.Client(base_url=metrics, timeout=PATIENCE_SECONDS) as scraper:
            assert scraper.get("/health/ready").json()["ready"]
            assert "contraflow_requests_total" in scraper.get("/metrics").text
            for path in ("/", "/models", "/docs", "/v2"):
                assert scraper.get(path).status_code == 404
            assert scraper.post("/metrics", content=b"").status_code == 405
            assert scraper.post("/predict", content=bytes(20_000)).status_code == 413
        with server.client(headers={"x-api-key": "first"}) as client:
            assert client.get("/metrics").status_code == 404
            assert "/metrics" not in client.get("/openapi.json").json()["paths"]
            slow = [socket.create_connection((server.host, server.metrics_port)) for _ in range(40)]
            try:
                for one in slow:
                    one.settimeout(10)
                    one.sendall(b"GET /metr")
                assert client.get("/models").status_code == 200, "nobody at the other port takes this connection"
                # Not one of the first: they made room for the last. What they sent may lie unread then: a reset.
                assert b"408" in slow[-1].recv(1000), "a head that does not come is not waited for"
            finally:
                for one in slow:
                    one.close()
            wait_until(lambda: httpx.get(f"{metrics}/metrics", timeout=PATIENCE_SECONDS).status_code == 200)
