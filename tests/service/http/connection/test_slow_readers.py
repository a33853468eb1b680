"""Clients that read their answers slowly, or not at all."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.service.live_server import running, wait_until
from tests.service.raw_http import CLOSE, get, small_buffers
from tests.service.tiny_bundles import write_bundle


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
        assert ledger.by_status["/openapi.json", "cancelled", 200, ""] == 1, "it was about to be written"
        assert ledger.requests["cancelled"] + ledger.requests["answered"] == 100


@pytest.mark.parametrize("system_holds_much", [False, True])
def test_a_client_that_reads_slowly_is_served_to_the_end(tmp_path: Path, system_holds_much: bool) -> None:
    """It reads less than a packet between two looks, over more than twice the limit.

    Where the system holds much of what was written, nothing moves here for long.
    """
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, request_timeout=4) as server, small_buffers(server) as (connection, protocol):
        if system_holds_much:
            protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)
        connection.sendall(LARGE * 150 + get("/openapi.json", CLOSE))
        received = bytearray()
        end = time.monotonic() + 9
        while time.monotonic() < end:
            received += connection.recv(512)
            time.sleep(0.02)
        while data := connection.recv(2**16):
            received += data
        assert received.count(b"HTTP/1.1 200 OK") == 151
        assert server.state.connections.ended.total() == 0
