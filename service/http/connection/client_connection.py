"""A client's connection: whose turn it is, and when the connection ends.

It adds to uvicorn's HTTP protocol: limits on the time that everything takes, answers in the order of the requests
whatever follows them, and calls that begin without a task. `request_reader` is its reading side, `cycle` one request.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from service.errors import ServiceError, SlowRequest, TooManyConnections
from service.http.answers.responses import Answer
from service.http.calls.exchange import EXCHANGE
from service.http.calls.gateway import Gateway
from service.http.connection.cycle import Cycle, answer_bytes
from service.http.connection.flow import ReadAheadFlow
from service.http.connection.request_reader import RequestReader
from service.http.connection.slow_readers import UnreadAnswer, reset
from service.http.requests.bodies import LINGER
from service.http.requests.forwarded import peer_of
from service.machine.connections import CutOff


class ClientConnection(RequestReader):
    """One connection. Input that never becomes a request is answered with a problem too, and closes it."""

    head_timeout = 30.0
    gateway: Gateway

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.shared = self.gateway.service.connections
        self._answering: Cycle | None = None
        """The request that is being answered."""
        self._refusal: ServiceError | None = None
        """Why nothing more is read; it is answered after the requests before it."""
        self._lingers_since: float | None = None
        """When the last answer was given, if the connection stays open for input that is thrown away."""
        self._unread = UnreadAnswer()

    # What happens to the connection

    def connection_made(self, transport: Any) -> None:
        others: Any = tuple(self.connections) if len(self.connections) >= self.shared.most else ()
        super().connection_made(transport)
        self.client = peer_of(self.client, transport)
        self.behind_proxy = self.proxies is not None and self.client is not None and self.proxies.trust(self.client[0])
        self.flow = ReadAheadFlow(transport, self._ahead)
        self.head_since = now = time.monotonic()
        if others and not self.shared.make_room(others, now):
            if len(others) > self.shared.most_with_refused:
                self.end("too-many-connections")
            else:
                self.refuse(TooManyConnections(f"{self.shared.most} connections are in use."))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        answering, waiting = self._answering, [cycle for cycle, _ in reversed(self.pipeline)]
        self.pipeline.clear()
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            if answering.on_lost is not None:
                answering.on_lost()
        if answering is not None and answering.keep_alive:  # otherwise the service closed the connection, and said so
            for cycle in waiting:
                self.gateway.drop(cycle.scope)

    def close_if_slow(self, now: float) -> None:
        """End a connection that is idle, or whose client is slow to send or to read; called once a second."""
        if self._unread.seconds(self.transport, now) > self.head_timeout:
            self.shared.ended["reads-nothing"] += 1
            reset(self.transport)
        elif self.transport.is_closing():
            pass
        elif self._lingers_since is not None:
            if self.transport.get_write_buffer_size():
                self._lingers_since = now
            elif now - self._lingers_since > LINGER:
                self.transport.close()
        elif self.idle_since is not None and now - self.idle_since > self.timeout_keep_alive:
            self.end("idle")
        elif self.rest_since is not None and now - self.rest_since > self.head_timeout:
            self.end("body-goes-on")
        elif self.head_since is not None and (self._ahead or self.flow.read_paused):
            self.head_since = now  # the service is not reading, so the client is not slow
        elif self.head_since is not None and now - self.head_since > self.head_timeout and not self.discards_input:
            self.refuse(SlowRequest(f"The request's head did not arrive within {self.head_timeout:g} s."))

    @property
    def waiting_since(self) -> float | None:
        """When the last answer was read; None while a request is being answered, or its answer being read."""
        if self.transport.is_closing() or not self._all_answered() or self.transport.get_write_buffer_size():
            return None
        return self._lingers_since or self.idle_since or self.head_since or self.rest_since

    @property
    def gone(self) -> bool:
        """True once it is closed and everything is written, even if asyncio has not yet called `connection_lost`."""
        return self.transport.is_closing() and not self.transport.get_write_buffer_size()

    def end(self, reason: CutOff) -> None:
        """Close it without an answer."""
        self.shared.ended[reason] += 1
        self.transport.close()

    def _close(self) -> None:
        """Close it after the answer just given: at once if all input was read, otherwise after `LINGER`."""
        if not self.discards_input and self.reading is None:
            self.transport.close()
            return
        self.discards_input = True
        self._ahead.clear()
        self._lingers_since = time.monotonic()
        if not self.transport.is_closing():
            with suppress(OSError):  # the client has gone; asyncio's own loop raises here, uvloop later
                self.transport.write_eof()
        self.flow.resume_reading()

    # Whose turn it is

    def _all_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def begin_in_turn(self, cycle: Cycle) -> None:
        free = self._all_answered()
        self.cycle = cycle
        if free:
            self.unstarted = cycle
        else:
            self.pipeline.appendleft((cycle, self.app))

    def begin_unstarted(self) -> None:
        unstarted, self.unstarted = self.unstarted, None
        if unstarted is not None and not self.transport.is_closing():
            self._begin(unstarted)

    def _begin_next(self) -> None:
        if not self.transport.is_closing() and self.pipeline:
            cycle: Any = self.pipeline.pop()[0]
            self._begin(cycle)
            self.take_on()

    def _begin(self, cycle: Cycle) -> None:
        self._answering = cycle
        scope: Any = cycle.scope
        if self._may_begin_at_once(cycle):
            rest: Any = self.gateway.begin(scope, bytes(cycle.body), cycle)
            if rest is not None:
                self._start_asgi_task(cycle, lambda *_: rest)
        else:
            scope["extensions"][EXCHANGE] = cycle
            self._start_asgi_task(cycle, self.app)

    def _may_begin_at_once(self, cycle: Cycle) -> bool:
        """True if the body is there and small, and the client reads its answers fast enough."""
        is_there = not (cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected)
        return is_there and len(cycle.body) <= self.gateway.longest_begun_body and not self.flow.write_paused

    def on_response_complete(self) -> None:
        """Go on with the next request, as uvicorn does, but without a timer per answer: see `close_if_slow`."""
        self.server_state.total_requests += 1
        assert self._answering is not None
        if not self._answering.keep_alive and not self.transport.is_closing():
            self._close()
        if self.transport.is_closing() or self._lingers_since is not None:
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self.loop.call_soon(self._begin_next)  # not here: answers given at once would nest ever deeper
        elif self._refusal is not None:
            self._answer_refusal()
        elif self.reading is not None:
            self.rest_since = time.monotonic()
        else:
            self.idle_since = time.monotonic()

    # What is not taken

    def refuse(self, error: ServiceError) -> None:
        """Read no more; answer `error` in its turn, and close the connection."""
        if self.transport.is_closing():
            return
        self.discards_input = True
        if self.reading is None:
            self._refusal = error
            if self._all_answered():
                self._answer_refusal()
        elif self.reading.response_complete:
            self._close()  # the request has its answer already
        else:
            self.reading.break_off(error)

    def _answer_refusal(self) -> None:
        assert self._refusal is not None
        self.shared.ended[self._refusal.slug] += 1
        head = self.head_so_far()
        self.gateway.refuse(self._refusal, head, self.sender()[0], self._write_refusal)
        self._close()

    def _write_refusal(self, answer: Answer) -> None:
        self.transport.write(answer_bytes(answer.status, self.shared.date, answer.headers, answer.body))
