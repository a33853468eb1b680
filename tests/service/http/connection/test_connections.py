"""Limits on connections: which are ended when there are too many, and clients that go or shut one side."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.http.connection.client_connection import ClientConnection
from service.machine.connections import SECONDS_UNTIL_NEXT_SEARCH
from tests.service.held_runs import held_runs
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, picture, running, wait_until
from tests.service.raw_http import CLOSE, get, head, post, read_answers, read_one
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
MOST = 8
HELD = "/predict?model=held"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    write_bundle(folder, "held")
    with running(folder, default_model="tiny", max_connections=MOST, max_batch=1, warm_up=False) as server:
        yield server


@pytest.fixture
def open_ones(server: LiveServer) -> Iterator[ExitStack]:
    """A stack for connections; after the test they are closed and the server has noticed."""
    with ExitStack() as stack:
        yield stack
    wait_until(lambda: not server.server.server_state.connections)
    time.sleep(SECONDS_UNTIL_NEXT_SEARCH)  # a server that was full refuses so long without looking for room


def connect(server: LiveServer, stack: ExitStack) -> socket.socket:
    """A connection that the server knows of."""
    connection = stack.enter_context(server.connect())
    port = connection.getsockname()[1]
    wait_until(lambda: server.connection_from(port) is not None)
    return connection


def ask(connection: socket.socket, message: bytes = get("/health/live")) -> int:
    connection.sendall(message)
    return read_one(connection).status


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has ended a connection, without sending anything."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(30)


def test_the_connection_that_has_been_idle_for_longest_makes_room(server: LiveServer, open_ones: ExitStack) -> None:
    connections = [connect(server, open_ones) for _ in range(MOST)]
    for connection in (connections[1], connections[0]):  # now 2 is the longest idle, though it never was heard of
        assert ask(connection) == 200
    new = connect(server, open_ones)
    assert ask(new) == 200
    wait_until(lambda: is_closed(connections[2]))
    del connections[2]
    assert [ask(connection) for connection in (*connections, new)] == [200] * MOST


@pytest.mark.parametrize(
    "start", [b"", b"P", b"POST /predict HTTP/1.1\r\nHost: x\r\nX-A: "], ids=["nothing", "a byte", "half a head"]
)
def test_many_more_connections_that_send_no_whole_request_lock_nobody_out(
    server: LiveServer, open_ones: ExitStack, start: bytes
) -> None:
    good = connect(server, open_ones)
    for _ in range(10 * MOST):
        connect(server, open_ones).sendall(start)
        if is_closed(good):
            good = connect(server, open_ones)
        assert ask(good, post(RED)) == 200


def test_requests_that_are_being_answered_make_no_room_and_whoever_comes_then_is_told_when_to_come_back(
    server: LiveServer, open_ones: ExitStack
) -> None:
    connections = [connect(server, open_ones) for _ in range(MOST)]
    with held_runs(server, "held"):
        for connection in connections:
            connection.sendall(post(RED, path=HELD))
        wait_until(lambda: server.state.engine.scheduler.waiting_images == MOST - 1)
        with server.connect() as refused:
            (answer,) = read_answers(refused)
    assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
    assert json.loads(answer.body)["type"] == "urn:contraflow:problem:too-many-connections"
    assert [read_one(connection).status for connection in connections] == [200] * MOST


def test_what_ended_connections_is_counted(server: LiveServer, open_ones: ExitStack) -> None:
    def count(reason: str) -> float:
        text = httpx.get(server.url + "/metrics", timeout=PATIENCE_SECONDS).text
        counted = re.search(rf'^contraflow_connections_ended_total{{reason="{reason}"}} (\S+)', text, re.MULTILINE)
        return float(counted[1]) if counted else 0.0

    before = {reason: count(reason) for reason in ("malformed-request", "made-room")}
    garbage = connect(server, open_ones)
    garbage.sendall(b"garbage\r\n\r\n")
    assert read_answers(garbage)[0].status == 400
    for _ in range(MOST + 1):
        connect(server, open_ones)
    assert count("malformed-request") == before["malformed-request"] + 1
    assert count("made-room") > before["made-room"]


def test_many_that_are_refused_are_not_all_kept_until_they_have_read_why(
    server: LiveServer, open_ones: ExitStack
) -> None:
    with held_runs(server, "held"):
        for _ in range(MOST):
            connect(server, open_ones).sendall(post(RED, path=HELD))
        wait_until(lambda: server.state.engine.scheduler.waiting_images == MOST - 1)
        late = [open_ones.enter_context(server.connect()) for _ in range(5 * MOST)]
        told = [answer.status for connection in late for answer in read_answers(connection)]
    assert set(told) == {503}
    assert len(told) < len(late)


def test_a_client_that_goes_just_as_it_is_refused_harms_nobody(server: LiveServer, open_ones: ExitStack) -> None:
    """The system then has no connection any more whose sending side could be shut, before the event loop is told."""
    connection = connect(server, open_ones)
    (known,) = server.server.server_state.connections
    assert isinstance(known, ClientConnection)
    done: Future[None] = Future()

    def refuse() -> None:
        connection.close()
        try:
            known.close_if_slow(time.monotonic() + 1000)
        except OSError as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    before = server.state.connections.ended["slow-request"]
    known.loop.call_soon_threadsafe(refuse)
    done.result(timeout=PATIENCE_SECONDS)
    assert server.state.connections.ended["slow-request"] == before + 1


@pytest.mark.parametrize(
    ("message", "requests"),
    [
        (post(RED, path=HELD), 1),
        (post(picture("red", (500, 500)), path=HELD), 1),
        (post(RED, path=HELD) * 3, 3),
        (post(RED, path=HELD) * 2 + get("/models"), 3),
        (post(RED, path=HELD) + head("POST /predict", "Content-Length: 100") + b"abc", 2),
    ],
    ids=["a small picture", "a large one", "several", "several of different kinds", "one that is incomplete"],
)
def test_who_shuts_the_sending_side_is_gone_and_all_that_was_asked_for_is_cancelled(
    server: LiveServer, open_ones: ExitStack, message: bytes, requests: int
) -> None:
    ledger = server.state.ledger
    before = ledger.requests.copy()
    connection = connect(server, open_ones)
    with held_runs(server, "held"):
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        assert read_answers(connection) == []
        wait_until(lambda: ledger.requests["cancelled"] == before["cancelled"] + requests)
    assert ledger.requests - before == {"cancelled": requests}


def test_a_client_that_has_gone_before_its_request_was_looked_at_is_cancelled(
    server: LiveServer, open_ones: ExitStack
) -> None:
    """Whatever the request is, and in whichever turn of the loop its end is noticed."""
    ledger = server.state.ledger
    messages = [get("/models"), get("/health/live"), head("OPTIONS *"), post(b""), post(RED), post(RED, CLOSE)]
    before = ledger.requests.total()
    for message in messages:
        connection = connect(server, open_ones)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(message)
        connection.close()
    wait_until(lambda: ledger.requests.total() == before + len(messages))
    assert ledger.requests["failed"] == 0
