"""Limits on connections: which are ended when there are too many, and clients that do not read or shut one side."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.http.connection.client_connection import ClientConnection
from service.machine.connections import Connections
from service.machine.descriptors import UNLIMITED, backlog, most_connections
from tests.service.live_server import LiveServer, best_label, picture, running, wait_until
from tests.service.raw_http import CLOSE, get, head, post, read_answers, read_one
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[4]
RED = picture("red")
MOST = 8
SLOW = "/predict?model=slow"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    write_bundle(folder, "slow", rounds=500)
    with running(folder, default_model="tiny", max_connections=MOST, max_batch=1, warm_up=False) as server:
        yield server


@pytest.fixture
def open_ones(server: LiveServer) -> Iterator[ExitStack]:
    """A stack for connections; after the test they are closed and the server has noticed."""
    with ExitStack() as stack:
        yield stack
    wait_until(lambda: not server.server.server_state.connections)


def connect(server: LiveServer, stack: ExitStack) -> socket.socket:
    """A connection that the server knows of."""
    connection = stack.enter_context(closing(socket.create_connection((server.host, server.port), timeout=30)))
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
    for connection in connections:
        connection.sendall(post(RED, path=SLOW))
    wait_until(lambda: server.state.engine.scheduler.waiting_images == MOST - 1)
    before = server.state.ledger.requests["answered"]
    with closing(socket.create_connection((server.host, server.port), timeout=30)) as refused:
        (answer,) = read_answers(refused)
    assert server.state.ledger.requests["answered"] == before, "they were to be under way still"
    assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
    assert json.loads(answer.body)["type"] == "urn:contraflow:problem:too-many-connections"
    assert [read_one(connection).status for connection in connections] == [200] * MOST


def test_what_ended_connections_is_counted(server: LiveServer, open_ones: ExitStack) -> None:
    def count(reason: str) -> float:
        text = httpx.get(server.url + "/metrics").text
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


class Other:
    """A connection that has waited since `waiting_since`, if it does."""

    def __init__(self, waiting_since: float | None) -> None:
        self._since = waiting_since
        self.looks = 0
        self.ended_by: str | None = None

    @property
    def waiting_since(self) -> float | None:
        self.looks += 1
        return None if self.gone else self._since

    @property
    def gone(self) -> bool:
        return self.ended_by is not None

    def end(self, reason: str) -> None:
        self.ended_by = reason


def test_looking_for_room_is_rare_while_there_is_none() -> None:
    connections, busy = Connections(1), Other(None)
    for now in (1.0, 1.01, 1.02, 2.0):
        assert not connections.make_room([busy], now)
    assert (busy.looks, busy.ended_by) == (2, None)


def test_there_is_room_only_if_those_beyond_the_limit_are_gone_too() -> None:
    """Three may be open; two that were refused are still there."""
    ended = [Other(since) for since in (3.0, 1.0, 2.0, None, None)]
    assert Connections(3).make_room(ended, 4.0)
    assert [one.ended_by for one in ended] == ["made-room"] * 3 + [None] * 2
    too_few = [Other(since) for since in (1.0, 2.0, None, None, None)]
    assert not Connections(3).make_room(too_few, 4.0)


def test_a_part_of_many_is_ended_at_once() -> None:
    others = [Other(float(since)) for since in range(64)]
    assert Connections(64).make_room(others, 100.0)
    assert [one.ended_by for one in others] == ["made-room"] * 2 + [None] * 62


def test_room_is_made_once_for_many_that_arrive_together() -> None:
    """Those that were ended are listed until the event loop's next turn."""
    connections, others = Connections(64), [Other(float(since)) for since in range(64)]
    for arrived, ended in ((0, 2), (1, 2), (2, 4), (3, 4), (4, 6)):
        assert connections.make_room([*others, *[Other(100.0) for _ in range(arrived)]], 100.0)
        assert [one.gone for one in others] == [True] * ended + [False] * (64 - ended)


def test_one_line_in_a_while_tells_what_ended_connections(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(8)
    with caplog.at_level(logging.INFO):
        for now in (100.0, 101.0, 102.0, 103.0, 120.0, 140.0):
            connections.ended["malformed-request"] += 2 if now < 110 else 0
            connections.ended["idle"] += 1
            connections.tick(now, 0)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["connections ended: 2 malformed-request", "connections ended: 6 malformed-request"]


def test_many_that_are_refused_are_not_all_kept_until_they_have_read_why(
    server: LiveServer, open_ones: ExitStack
) -> None:
    for _ in range(MOST):
        connect(server, open_ones).sendall(post(RED, path=SLOW))
    wait_until(lambda: server.state.engine.scheduler.waiting_images == MOST - 1)
    address = server.host, server.port
    late = [open_ones.enter_context(closing(socket.create_connection(address, timeout=30))) for _ in range(5 * MOST)]
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
    done.result(timeout=30)
    assert server.state.connections.ended["slow-request"] == before + 1


@pytest.mark.parametrize(
    ("message", "requests"),
    [
        (post(RED, path=SLOW), 1),
        (post(picture("red", (500, 500)), path=SLOW), 1),
        (post(RED, path=SLOW) * 3, 3),
        (post(RED, path=SLOW) * 2 + get("/models"), 3),
        (post(RED, path=SLOW) + head("POST /predict", "Content-Length: 100") + b"abc", 2),
    ],
    ids=["a small picture", "a large one", "several", "several of different kinds", "one that is incomplete"],
)
def test_who_shuts_the_sending_side_is_gone_and_all_that_was_asked_for_is_cancelled(
    server: LiveServer, open_ones: ExitStack, message: bytes, requests: int
) -> None:
    ledger = server.state.ledger
    before = ledger.requests.copy()
    connection = connect(server, open_ones)
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


@contextmanager
def small_buffers(server: LiveServer) -> Iterator[tuple[socket.socket, Any]]:
    """A connection with small socket buffers, and the server's side of it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((server.host, server.port))
        port = connection.getsockname()[1]
        wait_until(lambda: server.connection_from(port) is not None)
        protocol = server.connection_from(port)
        assert protocol is not None
        protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield connection, protocol


def drain(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass


LARGE = get("/openapi.json")


@pytest.mark.parametrize(
    ("message", "cancelled"),
    [(LARGE * 100, True), (LARGE, False), (get("/openapi.json", CLOSE), False)],
    ids=["many, of which some wait", "one that is written", "one that ends the connection"],
)
def test_a_client_that_reads_nothing_is_cut_off(tmp_path: Path, message: bytes, cancelled: bool) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, request_timeout=0.5) as server:
        known, ledger = server.server.server_state.connections, server.state.ledger
        with small_buffers(server) as (connection, _):
            connection.sendall(message)
            wait_until(lambda: not known)
            assert server.state.connections.ended == {"reads-nothing": 1}
            with pytest.raises(ConnectionResetError):
                drain(connection)
        wait_until(lambda: ledger.requests["cancelled"] > 0 or not cancelled)
        assert (ledger.requests["cancelled"] > 0) == cancelled


def test_an_answer_that_nobody_reads_is_cancelled_also_if_its_deadline_passes_first(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, request_timeout=0.5) as server:
        ledger = server.state.ledger
        with small_buffers(server) as (connection, _):
            connection.sendall(get("/openapi.json", "X-Deadline-Ms: 1") * 100)
            wait_until(lambda: ledger.requests.total() == 100)
        assert ledger.by_status["/openapi.json", "cancelled", 200] == 1, "it was about to be written"
        assert ledger.requests["cancelled"] + ledger.requests["answered"] == 100


@pytest.mark.parametrize("system_holds_much", [False, True])
def test_a_client_that_reads_slowly_is_served_to_the_end(tmp_path: Path, system_holds_much: bool) -> None:
    """It reads less than a packet between two looks, over several times the limit.

    Where the system holds much of what was written, nothing moves here for long.
    """
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, request_timeout=1.5) as server, small_buffers(server) as (connection, protocol):
        if system_holds_much:
            protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)
        connection.sendall(LARGE * 150 + get("/openapi.json", CLOSE))
        received = bytearray()
        end = time.monotonic() + 4.5
        while time.monotonic() < end:
            received += connection.recv(256)
            time.sleep(0.05)
        while data := connection.recv(2**16):
            received += data
        assert received.count(b"HTTP/1.1 200 OK") == 151
        assert server.state.connections.ended.total() == 0


@pytest.mark.parametrize(
    ("wanted", "descriptors", "connections", "waiting"),
    [(4096, 1024, 768, 128), (4096, 20_000, 4096, 2048), (100, 1024, 100, 462), (4096, 256, 192, 32), (4096, 4, 3, 1)],
)
def test_connections_leave_descriptors_over_even_if_all_that_wait_are_accepted_at_once(
    wanted: int, descriptors: int, connections: int, waiting: int
) -> None:
    assert most_connections(wanted, descriptors) == connections
    assert backlog(connections, descriptors) == waiting
    assert connections + waiting < descriptors or descriptors == 4
    assert most_connections(4096, UNLIMITED) == 4096


@contextmanager
def service(bundles: Path, soft: int, hard: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The service in a process of its own with a limit of descriptors, ready, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(bundles)]
    options = ["--bundle-poll-seconds", "0.05", "--drain-delay", "0", "--shutdown-grace", "1"]
    with subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    ) as process:
        try:
            wait_until(lambda: _status(port, "/health/ready") == 200, 60)
            yield process, port
        finally:
            process.terminate()
            process.wait(30)


def _status(port: int, path: str) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10).status_code
    except httpx.TransportError:
        return 0


def check_serves(port: int, polls: int = 5) -> None:
    """Over several looks at the folder, with fresh connections."""
    for _ in range(polls):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            assert client.get("/health/live").status_code == 200
            assert best_label(client.post("/predict", content=RED)) == "red"
            assert [model["name"] for model in client.get("/models").json()["models"]] == ["tiny"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads limits of processes as Linux shows them")
def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with service(tmp_path, 256, 2048) as (process, port):
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (2048, 2048)
        assert "contraflow_connections_limit 1536.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        process.terminate()
        assert process.stderr is not None
        assert b"connections: 1536 at most" in process.stderr.read()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux shows them")
def test_more_idle_connections_than_descriptors_lock_nobody_out_and_no_model_goes(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with service(tmp_path, 128, 256) as (process, port), ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=10)))
        check_serves(port)
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < 256
        write_bundle(tmp_path, "other")
        wait_until(lambda: _status(port, "/models/other") == 200, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="changes the limit of a running process")
def test_when_there_are_no_descriptors_at_all_the_service_goes_on_once_there_are(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with service(tmp_path, 256, 256) as (process, port):
        used = len(os.listdir(f"/proc/{process.pid}/fd"))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 3, 256))
        with ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=10)))
        wait_until(lambda: _status(port, "/health/live") == 200)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (256, 256))
        wait_until(lambda: _status(port, "/health/ready") == 200)
        assert best_label(httpx.post(f"http://127.0.0.1:{port}/predict", content=RED)) == "red"
