"""Heads of requests by RFC 9110 and 9112: which are accepted, which are refused, and how the refusal reads."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.service.live_server import LiveServer, picture, running
from tests.service.raw_http import CLOSE, RawAnswer, chunked, get, head, post, read_one, talk
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
LENGTH = f"Content-Length: {len(RED)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder, request_timeout=5) as server:
        yield server


def only(answers: list[RawAnswer]) -> RawAnswer:
    (answer,) = answers
    return answer


LARGE_FILE = "/static/vendor/redoc-2.5.4/redoc.standalone.js"
"""A file that is written in several pieces."""

HEAD = b"POST /predict HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
IN_CHUNKS = b"Transfer-Encoding: chunked\r\n"
CHUNKS = chunked(RED)

REFUSED = {
    "no host": (HEAD + LENGTH.encode() + b"\r\n\r\n" + RED, 400),
    "the same host twice": (HEAD + HOST + HOST + LENGTH.encode() + b"\r\n\r\n" + RED, 400),
    "two hosts": (HEAD + HOST + b"Host: y\r\n" + LENGTH.encode() + b"\r\n\r\n" + RED, 400),
    "two hosts in HTTP/1.0": (get("/health/live", "Host: y", version="1.0"), 400),
    "a host that is an address with a path": (head("GET /health/live", host="Host: x/y"), 400),
    "a host with a space": (head("GET /health/live", host="Host: x y"), 400),
    "a host with an account": (head("GET /health/live", host="Host: a@b"), 400),
    "a list of hosts": (head("GET /health/live", host="Host: a, b"), 400),
    "a port that is none": (head("GET /health/live", host="Host: x:http"), 400),
    "an unknown transfer coding": (HEAD + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "an unknown coding before chunks": (HEAD + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, 501),
    "one in a field before": (HEAD + HOST + b"Transfer-Encoding: br\r\n" + IN_CHUNKS + b"\r\n" + CHUNKS, 501),
    "the coding that was abolished": (HEAD + HOST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "chunks before another coding": (HEAD + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKS, 400),
    "chunks twice": (HEAD + HOST + IN_CHUNKS + IN_CHUNKS + b"\r\n" + CHUNKS, 400),
    "no coding": (HEAD + HOST + b"Transfer-Encoding:\r\n\r\n", 400),
    "chunks in HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + IN_CHUNKS + b"\r\n" + CHUNKS, 400),
    "a length before chunks": (HEAD + HOST + b"Content-Length: 3\r\n" + IN_CHUNKS + b"\r\n" + CHUNKS, 400),
    "a length after chunks": (HEAD + HOST + IN_CHUNKS + b"Content-Length: 3\r\n\r\n" + CHUNKS, 400),
    "two lengths": (HEAD + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a length with a sign": (HEAD + HOST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a length below zero": (HEAD + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "a length in base 16": (HEAD + HOST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "a length without a number": (HEAD + HOST + b"Content-Length: \r\n\r\n", 400),
    "a length without end": (HEAD + HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    "a space before the colon": (HEAD + HOST + b"Content-Length : 3\r\n\r\nabc", 400),
    "a folded field": (HEAD + HOST + b"X-A: a\r\n b\r\n\r\n", 400),
    "a line feed alone": (HEAD + HOST + b"X-A: a\nX-B: b\r\n\r\n", 400),
    "an expectation that is not known": (post(RED, "Expect: 200-ok"), 417),
    "one among known ones": (post(RED, "Expect: 100-continue, magic"), 417),
    "a version to come": (head("GET /health/live", version="3.0"), 505),
    "a version that is none of this kind": (head("GET /health/live", version="2.0"), 505),
    "a version long gone": (b"GET /health/live\r\n\r\n", 505),
    "all of the server by GET": (get("*"), 400),
    "an address of another scheme": (get("ftp://x/health/live"), 400),
}  # fmt: skip


@pytest.mark.parametrize(("message", "status"), REFUSED.values(), ids=REFUSED)
def test_a_head_that_may_not_be_taken_is_refused_with_a_problem(
    server: LiveServer, message: bytes, status: int
) -> None:
    answer = only(talk(server, [message]))
    assert answer.status == status, answer
    assert answer.headers["connection"] == "close"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]


TAKEN = {
    "HTTP/1.0 without a host": (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
    "HTTP/1.0 with an expectation, which it has not": (post(RED, "Expect: magic", version="1.0"), 200),
    "an empty host": (head("GET /health/live", CLOSE, host="Host:"), 200),
    "a host with a port": (head("GET /health/live", CLOSE, host="Host: contraflow_1.internal:8000"), 200),
    "a host by its address": (head("GET /health/live", CLOSE, host="Host: [::1]:8000"), 200),
    "space after values": (post(RED, "Expect: 100-continue \t", CLOSE, "X-A: b  "), 200),
    "100-continue in capitals": (post(RED, "Expect: 100-Continue", CLOSE), 200),
    "a coding in capitals": (HEAD + HOST + b"Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n" + CHUNKS, 200),
    "an absolute address": (get("http://elsewhere/health/live", CLOSE), 200),
    "an absolute address with a query": (post(RED, CLOSE, path="HTTP://x:80/predict?top_k=1"), 200),
    "an absolute address without a path": (get("http://x", CLOSE), 200),
    "an absolute address without a path, with a query": (get("http://x?a=/b", CLOSE), 200),
    "empty lines before": (b"\r\n\r\n" + post(RED, CLOSE), 200),
    "a field in Latin-1": (post(RED, CLOSE, "X-A: _").replace(b"X-A: _", b"X-A: gr\xf6\xdfe"), 200),
}  # fmt: skip


@pytest.mark.parametrize(("message", "status"), TAKEN.values(), ids=TAKEN)
def test_what_may_be_sent_is_answered(server: LiveServer, message: bytes, status: int) -> None:
    for packets in ([message], [message[index : index + 1] for index in range(len(message))]):
        answer = only(talk(server, packets))
        assert answer.status == status, answer


@pytest.mark.parametrize(
    "message",
    [
        post(RED, path="/predict?model=größe"),
        post(RED, path="/predict?model=gr%C3%B6%C3%9Fe"),
        b"\r\n" + post(RED, path="/predict?model=größe"),
        get("/models/größe"),
        get("http://localhost/models/größe"),
        get("/models/gr%C3%B6%C3%9Fe", "Connection: Upgrade", "Upgrade: h2c"),
    ],
)  # fmt: skip
def test_an_address_in_utf8_is_read_with_escapes_and_without(server: LiveServer, message: bytes) -> None:
    """No model has such a name, which the answer repeats. A body with a line that is no ASCII comes before."""
    body = post(b"\n\xff\xfe\n")
    for size in (1, len(message)):
        with server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(2):
                connection.sendall(body)
                assert read_one(connection).status == 415
                for start in range(0, len(message), size):
                    connection.sendall(message[start : start + size])
                answer = read_one(connection)
                assert (answer.status, "größe" in json.loads(answer.body)["detail"]) == (404, True), (number, answer)


@pytest.mark.parametrize(
    "message",
    [
        post(RED, CLOSE), post(b"", CLOSE), post(b"{", CLOSE, "Content-Type: application/json"), get("/models", CLOSE),
        get("/static/page.css", CLOSE), get("/nowhere", CLOSE), head("OPTIONS *", CLOSE),
        get(LARGE_FILE, CLOSE), b"nonsense\r\n\r\n",
    ],
)  # fmt: skip
def test_every_answer_has_a_date_once(server: LiveServer, message: bytes) -> None:
    """`talk` checks that no header is there twice."""
    answer = only(talk(server, [message]))
    sent = parsedate_to_datetime(answer.headers["date"])
    assert abs((datetime.now(UTC) - sent).total_seconds()) < 30
    assert answer.headers["date"].endswith(" GMT")


ADDRESSES = {
    "/predict": "OPTIONS, POST",
    "/health/live": "GET, HEAD, OPTIONS",
    "/": "GET, HEAD, OPTIONS",
    "/models/any": "GET, HEAD, OPTIONS",
    "/diagnostics/gradients": "OPTIONS, POST",
    "/v2/models/tiny/infer": "OPTIONS, POST",
    "/openapi.json": "GET, HEAD, OPTIONS",
    "*": "GET, HEAD, OPTIONS, POST",
}


@pytest.mark.parametrize(("path", "allowed"), ADDRESSES.items())
def test_options_says_what_an_address_takes(server: LiveServer, path: str, allowed: str) -> None:
    answer = only(talk(server, [head("OPTIONS " + path, CLOSE)]))
    assert (answer.status, answer.headers["allow"], answer.body) == (200, allowed, b"")


def test_options_is_answered_at_every_documented_address(server: LiveServer) -> None:
    with server.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
        for path, operations in paths.items():
            answer = client.options(re.sub(r"{\w+}", "any", path))
            assert answer.status_code == 200, path
            assert {method.upper() for method in operations} < set(answer.headers["allow"].split(", ")), path


def test_options_for_nothing_is_404(server: LiveServer) -> None:
    assert only(talk(server, [head("OPTIONS /nowhere", CLOSE)])).status == 404


def test_haproxys_check_gets_200_also_where_keys_are_asked_for(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, api_keys=("sha256:" + "0" * 64,)) as server:
        assert only(talk(server, [b"OPTIONS / HTTP/1.0\r\n\r\n"])).status == 200
        assert only(talk(server, [get("/models", CLOSE)])).status == 401


@pytest.mark.parametrize("path", ["/predict", "/health/live", "/models"])
def test_the_wrong_method_is_told_what_options_says(server: LiveServer, path: str) -> None:
    refused = only(talk(server, [head("DELETE " + path, CLOSE)]))
    told = only(talk(server, [head("OPTIONS " + path, CLOSE)]))
    assert (refused.status, refused.headers["allow"]) == (405, told.headers["allow"])


def test_who_waits_to_send_a_body_and_is_refused_is_told_that_the_connection_ends(tmp_path: Path) -> None:
    """The server cannot know whether the next bytes on the connection are the body."""
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, api_keys=("sha256:" + "0" * 64,)) as server:
        answer = only(talk(server, [head("POST /predict", LENGTH, "Expect: 100-continue")]))
        assert (answer.status, answer.headers["connection"]) == (401, "close")
