"""uvicorn's HTTP protocol with what it lacks; `request_reader` is the side that reads.

Limits on the time that everything takes, answers in the order of the requests whatever follows them, word of lost
connections, answers in one write where ASGI takes two messages, and no task for a request that can do without.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl

from service.engine.request_context import new_request_id
from service.errors import ServiceError, SlowRequest, TooManyConnections
from service.http.answers.responses import CLOSE, error_answer
from service.http.calls.exchange import EXCHANGE
from service.http.calls.gateway import Gateway
from service.http.connection.cycle import Cycle, answer_bytes
from service.http.connection.request_reader import PIECE, RequestReader
from service.http.connection.slow_readers import UnreadAnswer, reset
from service.http.requests.bodies import LINGER
from service.machine.connections import CutOff

MOST_PIPELINED = 16
"""Requests that wait for their turn, beyond which no more of them are looked at."""

LONGEST_TAKING = 0.005
"""Seconds after which others have their turn."""


class Flow(FlowControl):
    """uvicorn's, but nothing more is read while much of what was read is not looked at yet."""

    def __init__(self, transport: Any, ahead: bytearray) -> None:
        super().__init__(transport)
        self._ahead = ahead

    def resume_reading(self) -> None:
        if len(self._ahead) <= HIGH_WATER_LIMIT:
            super().resume_reading()


class ClientConnection(RequestReader):
    """One connection. What never becomes a request gets its problem too, and the connection is closed."""

    head_timeout = 30.0
    gateway: Gateway

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.shared = self.gateway.service.connections
        self._answering: Cycle | None = None
        """The request that is worked on."""
        self._unstarted: Cycle | None = None
        """What was to be started when its head was there, and waits for its body if that is in the same packet."""
        self._ahead = bytearray()
        """Received, and not looked at yet, since enough requests wait for their turn."""
        self._takes_soon = False
        self._last_words: ServiceError | None = None
        """Why nothing more is read; said when what came before is answered."""
        self._refused = False
        """True once all that comes is thrown away."""
        self._lingers_since: float | None = None
        """When the last answer was given, if nothing was closed for what may still come."""
        self._unread = UnreadAnswer()

    # What happens to the connection

    def connection_made(self, transport: Any) -> None:
        others: Any = tuple(self.connections) if len(self.connections) >= self.shared.most else ()
        super().connection_made(transport)
        self.flow = Flow(transport, self._ahead)
        self.head_since = now = time.monotonic()
        if others and not self.shared.make_room(others, now):
            if len(others) > self.shared.most_with_refused:
                self.end("too-many-connections")
            else:
                self._refuse(TooManyConnections(f"{self.shared.most} connections are in use.", retry_after=1.0))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        answering, waiting = self._answering, [cycle for cycle, _ in reversed(self.pipeline)]
        self.pipeline.clear()
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
        if answering is not None and answering.on_lost is not None:
            answering.on_lost()
        if answering is not None and answering.keep_alive:  # else it is we who closed, and said so
            for cycle in waiting:
                self.gateway.drop(cycle.scope)

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        if len(data) <= PIECE and not self._ahead and len(self.pipeline) < MOST_PIPELINED:
            self._take(data)
        else:
            self._ahead += data
            if not self._takes_soon:
                self._take_ahead()

    def _take(self, data: bytes) -> None:
        refusal = self.read(data)
        if self._unstarted is not None:
            self.begin_unstarted()
        if refusal is not None:
            self._refuse(refusal)

    def _take_ahead(self) -> None:
        """Takes of what came too early what there is room for, in little time.

        Reading goes on meanwhile, up to a limit: else it would be noticed late that the client has gone.
        """
        self._takes_soon = False
        until = time.monotonic() + LONGEST_TAKING
        while self._ahead and len(self.pipeline) < MOST_PIPELINED:
            if self._refused or self.transport.is_closing():
                self._ahead.clear()
                return
            if time.monotonic() > until:
                self.loop.call_soon(self._take_ahead)
                self._takes_soon = True
                break
            piece = bytes(self._ahead[:PIECE])
            del self._ahead[:PIECE]
            self._take(piece)
        if len(self._ahead) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        elif self.reading is None or len(self.reading.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def close_if_slow(self, now: float) -> None:
        """Ends a connection that is idle, or whose client is slow to send or to read; called once a second."""
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
            self.head_since = now  # it is we who do not read
        elif self.head_since is not None and now - self.head_since > self.head_timeout and not self._refused:
            self._refuse(SlowRequest(f"The request's head did not arrive within {self.head_timeout:g} s."))

    @property
    def waiting_since(self) -> float | None:
        """Since when nothing is to be answered; None while something is, or is still being read by the client."""
        if self.transport.is_closing() or not self._all_answered() or self.transport.get_write_buffer_size():
            return None
        return self._lingers_since or self.idle_since or self.head_since or self.rest_since

    @property
    def gone(self) -> bool:
        """True once it is closed with nothing left to be read; it is still listed until the loop's next turn."""
        return self.transport.is_closing() and not self.transport.get_write_buffer_size()

    def end(self, reason: CutOff) -> None:
        """Closes it without a word."""
        self.shared.ended[reason] += 1
        self.transport.close()

    def _close(self) -> None:
        """Closes it after the answer that was just given, at once if all was read."""
        if not self._refused and self.reading is None:
            self.transport.close()
            return
        self._refused = True
        self._ahead.clear()
        self._lingers_since = time.monotonic()
        if not self.transport.is_closing():
            with suppress(OSError):  # the client has gone, which asyncio's own loop says here, and uvloop later
                self.transport.write_eof()
        self.flow.resume_reading()

    # Whose turn it is

    def _all_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def begin_in_turn(self, cycle: Cycle) -> None:
        free = self._all_answered()
        self.cycle = cycle
        if free:
            self._unstarted = cycle  # whether a task is needed shows with the body
        else:
            self.pipeline.appendleft((cycle, self.app))

    def begin_unstarted(self) -> None:
        unstarted, self._unstarted = self._unstarted, None
        if unstarted is not None and not self.transport.is_closing():
            self._begin(unstarted)

    def _begin_next(self) -> None:
        if not self.transport.is_closing() and self.pipeline:
            cycle: Any = self.pipeline.pop()[0]
            self._begin(cycle)
            if self._ahead and len(self.pipeline) < MOST_PIPELINED and not self._takes_soon:
                self._take_ahead()

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
        """True if a small body is there, and its answer need not wait for the client to read others."""
        is_there = not (cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected)
        return is_there and len(cycle.body) <= self.gateway.longest_begun_body and not self.flow.write_paused

    def on_response_complete(self) -> None:
        """Does as uvicorn's, but for one timer per answer: `close_if_slow` looks after idle connections too."""
        self.server_state.total_requests += 1
        assert self._answering is not None
        if not self._answering.keep_alive and not self.transport.is_closing():
            self._close()
        if self.transport.is_closing() or self._lingers_since is not None:
            return
        self.flow.resume_reading()
        if self.pipeline:
            self.loop.call_soon(self._begin_next)  # not now: it may be answered at once, and so on, within one another
        elif self._last_words is not None:
            self._say_last_words()
        elif self.reading is not None:
            self.rest_since = time.monotonic()
        else:
            self.idle_since = time.monotonic()

    # What is not taken

    def _refuse(self, error: ServiceError) -> None:
        """Reads no more; `error` is answered when its turn comes, and the connection is closed."""
        if self.transport.is_closing():
            return
        self._refused = True
        if self.reading is None:
            self._last_words = error
            if self._all_answered():
                self._say_last_words()
        elif self.reading.response_complete:
            self._close()  # it has its answer
        else:
            self.reading.break_off(error)

    def _say_last_words(self) -> None:
        assert self._last_words is not None
        self.shared.ended[self._last_words.slug] += 1
        request_id = new_request_id()
        path = self.url.partition(b"?")[0].decode("latin-1")
        status, headers, body = error_answer(self._last_words, path, request_id)
        headers += [(b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode()), CLOSE]
        self.transport.write(answer_bytes(status, self.shared.date, headers, body))
        self._close()
