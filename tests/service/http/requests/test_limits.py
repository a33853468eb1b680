"""Limits on what a client may send, API keys, rates and budgets. Malicious clients are in `test_attacks`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.service.live_server import LiveServer, picture, running, wait_until
from tests.service.raw_http import small_buffers
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
MAX_BODY = 20_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder, max_body_bytes=MAX_BODY, max_header_bytes=4096, request_timeout=3) as server:
        yield server


def talk(server: LiveServer, *messages: bytes) -> bytes:
    """Send messages, then read to the end of the connection."""
    with server.connect() as connection:
        for message in messages:
            try:
                connection.sendall(message)
            except OSError:
                break
        received = b""
        while True:
            try:
                data = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not data:
                return received
            received += data


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n"


def test_a_refused_body_is_answered_with_a_problem_and_the_connection_is_closed(server: LiveServer) -> None:
    answer = talk(server, HEAD + b"Content-Length: 30000\r\n\r\n" + bytes(30_000))
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer


def test_a_body_that_says_it_is_too_large_is_not_waited_for(server: LiveServer) -> None:
    answer = talk(server, HEAD + b"Content-Length: 999999999999\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"953,674 MB (999,999,999,999 bytes)" in answer


def test_a_body_of_exactly_the_limit_is_read(server: LiveServer) -> None:
    with server.client() as client:
        assert client.post("/predict", content=bytes(MAX_BODY)).status_code == 415
        assert client.post("/predict", content=bytes(MAX_BODY + 1)).status_code == 413


def test_requests_that_come_in_single_bytes_are_answered(server: LiveServer) -> None:
    message = HEAD + CLOSE + b"Content-Length: %d\r\n\r\n" % len(RED) + RED
    answer = talk(server, *[message[index : index + 1] for index in range(len(message))])
    assert answer.startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(server: LiveServer) -> None:
    one = HEAD + b"X-Request-Id: one\r\nContent-Length: %d\r\n\r\n" % len(RED) + RED
    two = HEAD + CLOSE + b"X-Request-Id: two\r\nContent-Length: 1\r\n\r\nx"
    answer = talk(server, one + two)
    assert answer.index(b"x-request-id: one") < answer.index(b"x-request-id: two")
    assert answer.count(b"HTTP/1.1 ") == 2


def test_thousands_of_pipelined_requests_are_answered_each_whether_good_or_bad(server: LiveServer) -> None:
    good = HEAD + b"Content-Length: %d\r\n\r\n" % len(RED) + RED
    bad = HEAD.replace(b"/predict", b"/predict?top_k=0") + b"Content-Length: %d\r\n\r\n" % len(RED) + RED
    health = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
    answer = talk(server, bad * 1500 + good + bad * 1500 + good + health + CLOSE + b"\r\n")
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [422] * 1500 + [200] + [422] * 1500 + [200, 200]


def test_answers_do_not_pile_up_for_a_client_that_does_not_read_them(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    one = HEAD.replace(b"/predict", b"/predict?top_k=0") + b"Content-Length: %d\r\n\r\n" % len(RED) + RED
    with running(tmp_path) as server, small_buffers(server) as (connection, protocol):
        connection.setblocking(False)
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            with suppress(BlockingIOError):
                connection.send(one * 100)
        assert 0 < protocol.transport.get_write_buffer_size() < 2**17


def test_a_request_id_that_could_break_a_log_is_replaced(server: LiveServer) -> None:
    with server.client() as client:
        for given in ("a b", "x" * 129, "<script>"):
            assert client.get("/health/live", headers={"x-request-id": given}).headers["x-request-id"] != given


NO_REQUESTS = [
    (b"no HTTP at all\r\n\r\n", 400, "malformed-request"),
    (HEAD + b"X-Long: " + b"x" * 10_000, 431, "head-too-large"),
    (HEAD[:20], 408, "slow-request"),
]


def test_connections_that_were_refused_are_closed_and_forgotten(server: LiveServer) -> None:
    for message in [message for message, _, _ in NO_REQUESTS] + [HEAD + b"Content-Length: 999999999999\r\n\r\n"]:
        assert talk(server, message)
    wait_until(lambda: not server.server.server_state.connections)


@pytest.mark.parametrize(("message", "status", "slug"), NO_REQUESTS)
def test_what_never_becomes_a_request_gets_its_problem_too(
    server: LiveServer, message: bytes, status: int, slug: str
) -> None:
    head, _, body = talk(server, message).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    problem = json.loads(body)
    assert problem["type"].endswith(slug)
    assert f"x-request-id: {problem['request_id']}".encode() in head


def test_large_bodies_share_a_budget(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, max_body_bytes_in_flight=150_000) as server, server.client() as client:
        half = HEAD + b"Content-Length: 120000\r\n\r\n" + bytes(100_000)
        with server.connect() as first:
            first.sendall(half)
            wait_until(lambda: client.post("/predict", content=bytes(100_000)).status_code == 503)
        wait_until(lambda: client.post("/predict", content=bytes(100_000)).status_code == 415)


def test_a_client_that_goes_within_its_body_is_cancelled(server: LiveServer) -> None:
    wait_until(lambda: not server.server.server_state.connections)
    before = server.state.ledger.requests["cancelled"]
    with server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\nabc")
    wait_until(lambda: server.state.ledger.requests["cancelled"] == before + 1)
