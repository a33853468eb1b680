"""Clients and proxies that people use, as they come, against the real service.

Where one is not installed its test is skipped, and says so.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bench.harness.proxy import nginx
from bench.harness.server import free_port
from tests.programs import needs
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, best_label, picture
from tests.service.raw_http import post, talk

CLIENTS = Path(__file__).parent
GREEN = picture((0, 255, 0))
OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "green.png"
    path.write_bytes(GREEN)
    return path


def lines_of(command: Sequence[str | Path]) -> list[str]:
    """Run a client and return what it prints: a line for each answer, with its status and its body."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def check_is_green(line: str) -> None:
    status, _, body = line.partition(" ")
    assert status == "200", line
    assert json.loads(body)["predictions"][0]["labels"][0]["label"] == "green"


@needs("javac")
def test_javas_client_as_it_comes(server: LiveServer, image: Path) -> None:
    lines = lines_of(["java", CLIENTS / "Predict.java", server.url, image])
    assert len(lines) == 6
    for line in lines:
        check_is_green(line)


@needs("node")
def test_nodes_fetch(server: LiveServer, image: Path) -> None:
    lines = lines_of(["node", CLIENTS / "predict.mjs", server.url, image])
    assert len(lines) == 4
    for line in lines:
        check_is_green(line)


CURL = ["curl", "-sS", "--max-time", "60", "-w", "%{stderr}%{http_code} %{http_version} %{num_connects}\n"]


def curl(*arguments: str | Path) -> list[tuple[str, str]]:
    """Status, version and number of new connections for each answer, and its body."""
    done = subprocess.run([*CURL, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    bodies = ['{"model"' + part for part in done.stdout.split('{"model"')[1:]] or [done.stdout]
    return list(zip(done.stderr.splitlines(), bodies, strict=True))


@needs("curl")
@pytest.mark.parametrize(
    ("version", "header"),
    [
        *[(version, "Accept: */*") for version in ("--http1.0", "--http1.1", "--http2")],
        *[(version, "Expect: 100-continue") for version in ("--http1.0", "--http1.1", "--http2")],
        *[(version, "Transfer-Encoding: chunked") for version in ("--http1.1", "--http2")],
    ],
)
def test_curl_with_every_version_it_can_ask_for(server: LiveServer, image: Path, version: str, header: str) -> None:
    url = server.url + "/predict"
    # Twice, so that the second shows whether the connection is of use after the first.
    answers = curl(version, "-H", header, "--data-binary", f"@{image}", url, url)
    connects = ["1", "1" if version == "--http1.0" else "0"]
    for (facts, body), connect in zip(answers, connects, strict=True):
        assert facts.split()[0] == "200"
        assert facts.split()[1] in ("1", "1.0", "1.1")
        assert facts.split()[2] == connect
        check_is_green("200 " + body)


@needs("curl")
def test_curl_that_speaks_http2_unasked_is_told_that_it_is_not_spoken_here(server: LiveServer, image: Path) -> None:
    done = subprocess.run(
        [*CURL, "--http2-prior-knowledge", "--data-binary", f"@{image}", server.url + "/predict"],
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode != 0
    assert server.state.connections.ended["version-not-supported"] > 0


SITE = """
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' close;
    }}
    server {{
        listen 127.0.0.1:{port};
        location /vision/ {{
            proxy_pass {service}/;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-Prefix /vision;
        }}
    }}
"""
"""The configuration for WebSockets that nginx's documentation gives and everybody copies, under a prefix."""


@contextmanager
def behind_nginx(service: str) -> Iterator[LiveServer]:
    port = free_port()
    with nginx(port, SITE.format(port=port, service=service)):
        yield LiveServer(None, None, "127.0.0.1", port)  # type: ignore[arg-type]


@needs("nginx")
def test_behind_nginx_with_its_map_for_websockets_and_a_prefix(server: LiveServer, image: Path) -> None:
    with behind_nginx(server.url) as proxy:
        with httpx.Client(base_url=proxy.url + "/vision", timeout=PATIENCE_SECONDS) as client:
            assert best_label(client.post("/predict", content=GREEN)) == "green"
            assert best_label(client.post("/predict", files={"images": GREEN})) == "green"
            document = {"images": [base64.b64encode(GREEN).decode()]}
            assert best_label(client.post("/predict", json=document)) == "green"
            assert client.get("/health/live").status_code == 200
            assert client.options("/predict").headers["allow"] == "OPTIONS, POST"
        offered = talk(
            proxy, [post(GREEN, *OFFER, path="/vision/predict"), post(b"", "Connection: close", path="/vision/")]
        )
        assert [answer.status for answer in offered] == [200, 405]
        check_is_green("200 " + offered[0].body.decode())
        websocket = ("Connection: Upgrade", "Upgrade: websocket")
        (answer,) = talk(proxy, [post(GREEN, *websocket, path="/vision/predict") + b"GET / HTTP/1.0\r\n\r\n"])[:1]
        check_is_green(f"{answer.status} {answer.body.decode()}")


@needs("nginx")
@needs("javac")
def test_javas_client_behind_nginx(server: LiveServer, image: Path) -> None:
    with behind_nginx(server.url) as proxy:
        lines = lines_of(["java", CLIENTS / "Predict.java", proxy.url + "/vision", image])
    assert len(lines) == 6
    for line in lines:
        check_is_green(line)
