"""One request on a connection, and its answer."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.errors import ServiceError
from service.http.answers.responses import CLOSE, RawHeaders
from service.machine.connections import Connections


class Cycle(RequestResponseCycle):
    """uvicorn's cycle; it also writes a whole answer at once, and says when its client has gone.

    It is the `Exchange` of `service.http.calls`.
    """

    connections: Connections
    on_lost: Callable[[], None] | None = None
    _fault: ServiceError | None = None

    @property
    def lost(self) -> bool:
        """True once the client has gone."""
        return self.disconnected

    def break_off(self, fault: ServiceError) -> None:
        """Raise `fault` to whoever reads the body, whose rest will never come; the answer ends the connection."""
        self._fault = fault
        self.keep_alive = False
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next ASGI message.

        Raises:
            ServiceError: the fault in the body.
        """
        message = await super().receive() if self._fault is None else None
        if self._fault is not None:
            raise self._fault
        assert message is not None
        return message

    def whole_body(self) -> bytes | None:
        """Return the body if it has arrived whole, and None if it must be read by `receive`. Works once."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected:
            return None
        self.flow.resume_reading()  # the end of the connection is noticed only while reading
        body, self.body = bytes(self.body), bytearray()
        return body

    async def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Wait for a client that is slow to read earlier answers, then `write`."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        self.write(status, headers, body)

    def write(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Write the whole answer, by one system call if it is small."""
        if self.transport.is_closing():
            self.disconnected = True  # or uvicorn, which is told later, logs as an error that nothing was sent
        if self.disconnected:
            return
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive or self.waiting_for_100_continue:  # nobody knows whether that body will come
            self.keep_alive = False
            headers = [*headers, CLOSE]
        content = b"" if self.scope["method"] == "HEAD" else body
        self.transport.write(answer_bytes(status, self.connections.date, headers, content))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        self.on_response()


def answer_bytes(status: int, date: bytes, headers: RawHeaders, body: bytes) -> bytes:
    """Return a whole answer as it goes over the wire."""
    return b"".join([STATUS_LINE[status], date, *[b"%s: %s\r\n" % header for header in headers], b"\r\n", body])
