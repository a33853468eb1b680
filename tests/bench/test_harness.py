"""The load generator and its client, against small servers that answer, refuse, break off or keep silent."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench.harness import load
from bench.harness.client import BROKEN, Client, post, run
from bench.harness.load import Traffic, closed_loop, open_loop, throughput
from bench.harness.server import free_port, running

OK = b"HTTP/1.1 200 OK\r\nServer-Timing: run;dur=2.5\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
REQUEST = post("/predict", b"image")

Answering = Callable[[bytes], bytes | None]
"""The answer to a request; None breaks the connection off, nothing at all keeps silent."""


@contextmanager
def answered_by(answer: Answering) -> Iterator[int]:
    """Run a server in a thread, and yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(2**16):
            reply = answer(received)
            if reply is None:
                break
            writer.write(reply)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        started.set()
        async with server:
            await stopped.wait()

    port, started = free_port(), threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    started.wait(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_a_closed_loop_asks_for_the_requests_in_turn_and_each_client_at_least_once() -> None:
    with answered_by(lambda request: OK if b"/predict" in request else BUSY) as port:
        replies = closed_loop(port, [REQUEST, post("/other")], clients=4, seconds=0.0)
    assert sorted((reply.number, reply.status) for reply in replies) == [(0, 200), (1, 503), (2, 200), (3, 503)]
    by_status = {reply.status: reply for reply in replies}
    assert by_status[200].body == b"ok"
    assert by_status[200].stages == {"run": 0.0025}
    assert by_status[503].says_when_to_retry
    assert not by_status[200].says_when_to_retry


def test_an_open_loop_keeps_its_rate_and_gives_up_what_is_not_answered() -> None:
    with answered_by(lambda _: b"") as port:
        replies = open_loop(port, [REQUEST], rate=200, seconds=0.1, connections=4, patience=0.1)
    assert [reply.status for reply in replies] == [BROKEN] * 20


def test_an_answer_counts_from_when_its_request_was_due() -> None:
    with answered_by(lambda _: OK) as port:
        replies = open_loop(port, [REQUEST], rate=100, seconds=0.2)
    assert [reply.status for reply in replies] == [200] * 20
    assert all(later.sent > sooner.sent for sooner, later in itertools.pairwise(replies))
    assert throughput(replies) > 0


@pytest.mark.parametrize("answer", [None, BUSY], ids=["broken off", "closed in order"])
def test_a_client_connects_again_after_its_connection_ended(answer: bytes | None) -> None:
    answers = iter([answer, OK])

    async def ask_twice(port: int) -> list[int]:
        client = Client(port)
        statuses = [(await client.ask(REQUEST)).status for _ in range(2)]
        client.close()
        return statuses

    with answered_by(lambda _: next(answers)) as port:
        assert run(ask_twice(port)) == [BROKEN if answer is None else 503, 200]


def test_chunked_answers_are_read_to_their_end() -> None:
    with answered_by(lambda _: CHUNKED) as port:
        (reply,) = closed_loop(port, [REQUEST], 1, 0.0)
    assert reply.status == 200
    assert reply.body.endswith(b"0\r\n\r\n")


def test_an_answer_that_comes_before_anybody_waits_for_it_is_kept() -> None:
    async def wait_late(port: int) -> bytes:
        client = Client(port)
        await client.send(REQUEST)
        await asyncio.sleep(0.1)
        _, body = await client.answer()
        client.close()
        return body

    with answered_by(lambda _: OK) as port:
        assert run(wait_late(port)) == b"ok"


def test_traffic_follows_its_port_and_counts_what_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "RETRY_SECONDS", 0.001)
    with answered_by(lambda _: OK) as port, Traffic(free_port(), [REQUEST], 2, fresh=True) as traffic:
        until(lambda: bool(traffic.replies))
        traffic.port = port
        until(lambda: traffic.replies[-1].status == 200)
    assert traffic.replies[0].status == BROKEN


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_server_that_ends_before_it_is_ready_is_named_with_its_last_line() -> None:
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(1)"]
    with pytest.raises(RuntimeError, match="does not start: no such port"), running(command, 1, lambda _: False):
        pass
