"""Pipelined requests are answered in order, whatever follows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from service.http.connection.request_reader import MOST_PIPELINED, PARSED_PIECE
from tests.service.held_runs import held_runs
from tests.service.live_server import LiveServer, picture, running, wait_until
from tests.service.raw_http import CLOSE, RawAnswer, chunked, get, head, post, read_answers, talk
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
HEAD_LIMIT = 4096

GOOD = {
    "predictions of small pictures": post(RED, "X-Request-Id: good"),
    "predictions that are decoded beside": post(picture("red", (400, 400)), "X-Request-Id: good"),
    "predictions in chunks": head("POST /predict", "X-Request-Id: good", "Transfer-Encoding: chunked") + chunked(RED),
    "questions": get("/models", "X-Request-Id: good"),
}
"""Requests that are answered in different ways, each at another time."""

IN_CHUNKS = head("POST /predict", "Transfer-Encoding: chunked")

ENDLESS = b"a" * 2**20
"""More than one packet holds, because the parser does not tell where in a packet a message begins."""

BAD = {
    "garbage": (b"garbage\r\n\r\n", 400),
    "half a garbage": (b"\x00", 400),
    "a head over the limit": (get("/health/live", "X-A: " + "a" * HEAD_LIMIT), 431),
    "a head that never ends, over the limit": (get("/health/live")[:-4] + ENDLESS, 431),
    "a head that stops": (b"GET /health/li", 408),
    "a body that stops": (post(RED)[:-1], 408),
    "no host": (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
    "an unknown transfer coding": (head("POST /predict", "Transfer-Encoding: gzip, chunked"), 501),
    "an unknown version": (get("/health/live", version="3.0"), 505),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "an unknown expectation": (post(RED, "Expect: magic"), 417),
    "a length twice": (head("POST /predict", "Content-Length: 3", "Content-Length: 3") + b"abc", 400),
    "too many chunks": (IN_CHUNKS + b"1\r\na\r\n" * 20_000, 413),
    "a chunk without a size": (IN_CHUNKS + b"3\r\nabc\r\nxyz\r\n", 400),
    "a chunk with an extension that never ends": (IN_CHUNKS + b"1;" + ENDLESS, 431),
    "trailers that never end": (IN_CHUNKS + b"0\r\nX-A: " + ENDLESS, 431),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder, request_timeout=3, max_header_bytes=HEAD_LIMIT) as server:
        yield server


def check(answers: list[RawAnswer], good: int, bad: int) -> None:
    assert [answer.status for answer in answers] == [200] * good + [bad]
    assert [answer.headers["x-request-id"] for answer in answers[:good]] == ["good"] * good
    assert answers[-1].headers["connection"] == "close"
    assert all("connection" not in answer.headers for answer in answers[:good])
    assert json.loads(answers[-1].body)["status"] == bad


@pytest.mark.parametrize(("bad", "status"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_good_requests_are_answered_before_the_refusal_of_what_follows_in_the_same_packet(
    server: LiveServer, good: bytes, bad: bytes, status: int
) -> None:
    check(talk(server, [good * 3 + bad]), 3, status)


@pytest.mark.parametrize(("bad", "status"), BAD.values(), ids=BAD)
def test_and_where_it_follows_while_they_are_being_answered(server: LiveServer, bad: bytes, status: int) -> None:
    with server.connect() as connection, held_runs(server, "tiny") as run:
        connection.sendall(GOOD["predictions of small pictures"])
        wait_until(lambda: server.state.engine.scheduler.running > 0)
        connection.sendall(GOOD["questions"] + bad)
        run.let_go()
        check(read_answers(connection), 2, status)


TINY = b"GET /health/live HTTP/1.1\r\nHost:\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        TINY * 1_000_000,
        post(bytes(15_000_000)),
        head("POST /predict", "Transfer-Encoding: chunked") + chunked(bytes(10_000_000), 1_000_000),
    ],
    ids=["many requests", "a large body", "a large body in chunks"],
)
def test_little_is_held_of_what_is_sent_ahead_of_its_turn(tmp_path: Path, sent: bytes) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.connect() as connection, held_runs(server, "tiny"):
        connection.sendall(post(RED))
        wait_until(lambda: server.state.engine.scheduler.running > 0)
        connection.setblocking(False)
        with suppress(BlockingIOError):
            while sent:
                sent = sent[connection.send(sent[: 2**20]) :]
        port = connection.getsockname()[1]
        protocol = server.connection_from(port)
        assert protocol is not None
        flow = protocol.flow
        wait_until(lambda: flow.read_paused)
        assert protocol.cycle is not None
        held = len(protocol._ahead) + len(protocol.cycle.body)
        assert held < 2 * (HIGH_WATER_LIMIT + PACKET)
        assert len(protocol.pipeline) < MOST_PIPELINED + PARSED_PIECE / len(TINY) + 1


PACKET = 2**18
"""The most bytes that the event loop reads at once."""

FRAMINGS = st.sampled_from(["whole", "in chunks", "a question", "with an offer", "refused", "waits"])


def framed(framing: str, number: int) -> tuple[bytes, int]:
    """One request and the status of its answer; its id is `number`."""
    name = f"X-Request-Id: {number}"
    match framing:
        case "whole":
            return post(RED, name), 200
        case "in chunks":
            return head("POST /predict", name, "Transfer-Encoding: chunked") + chunked(RED, 7), 200
        case "a question":
            return get("/models", name), 200
        case "with an offer":
            return post(RED, name, "Connection: Upgrade", "Upgrade: h2c"), 200
        case "refused":
            return post(RED, name, path="/predict?top_k=0"), 422
        case _:
            return post(RED, name, "Expect: 100-continue"), 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FRAMINGS, min_size=1, max_size=40), st.lists(st.integers(1, 400), max_size=30), st.booleans())
def test_whatever_is_sent_in_whatever_packets_each_is_answered_once_in_its_turn(
    server: LiveServer, framings: list[str], cuts: list[int], garbage: bool
) -> None:
    messages, statuses = zip(*[framed(framing, number) for number, framing in enumerate(framings)], strict=True)
    stream = b"".join(messages) + (b"\0garbage" if garbage else get("/health/live", CLOSE))
    packets = []
    for cut in cuts:
        packets.append(stream[:cut])
        stream = stream[cut:]
    answers = talk(server, [*filter(None, packets), stream])
    assert [answer.status for answer in answers] == [*statuses, 400 if garbage else 200]
    assert [answer.headers["x-request-id"] for answer in answers[:-1]] == [str(n) for n in range(len(framings))]


@pytest.mark.parametrize(
    "tail",
    [b"3\r\nabc\r\nxyz\r\n", b"1\r\na\r\n" * 20_000, b"1;" + ENDLESS],
    ids=["size", "many", "long"],
)
def test_a_body_that_goes_wrong_after_its_answer_gets_no_second_one(server: LiveServer, tail: bytes) -> None:
    """The body of a GET is not waited for."""
    with server.connect() as connection:
        connection.sendall(head("GET /health/live", "Transfer-Encoding: chunked"))
        first = connection.recv(2**16)
        connection.sendall(tail)
        answers = read_answers(connection)
    assert first.startswith(b"HTTP/1.1 200")
    assert not answers


def test_a_body_that_stops_after_its_answer_does_not_hold_the_connection(server: LiveServer) -> None:
    with server.connect() as connection:
        connection.sendall(head("GET /health/live", "Content-Length: 10") + b"abc")
        assert [answer.status for answer in read_answers(connection)] == [200]


def test_empty_lines_do_not_hold_a_connection(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, keep_alive=1) as server:
        assert [answer.status for answer in talk(server, [get("/health/live"), b"\r\n\r\n"])] == [200]


def test_what_follows_the_last_request_of_a_connection_is_not_answered(server: LiveServer) -> None:
    answers = talk(server, [get("/health/live") + get("/health/live", CLOSE) + b"garbage\r\n\r\n"])
    assert [answer.status for answer in answers] == [200, 200]
