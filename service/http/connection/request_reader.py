"""The reading side of a connection: from bytes to requests.

uvicorn's with what it lacks: limits on the head, what RFC 9110 asks of it, and offers of other protocols left alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import HeadTooLarge, InternalError, NotImplementedHere, ServiceError, TooLarge
from service.http.connection.cycle import Cycle
from service.http.requests.heads import check_head, escaped, read_target, unreadable, without_offer
from service.machine.connections import Connections

log = logging.getLogger("contraflow.http")

MOST_CHUNKS = 2**14
"""One body may have so many: enough for the largest in pieces of a kilobyte, and little work if all are of one byte."""


PIECE = 2**14
"""Bytes looked at together: of the smallest requests, hundreds."""


class RequestReader(HttpToolsProtocol):
    """One connection, as far as its requests are read; `begin_in_turn` gets each when its head is there."""

    max_head_bytes = 32 * 2**10
    shared: Connections

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.url = b""
        self.cycle: Cycle
        """The last request that came, which may still have to wait for those before it."""
        self.reading: Cycle | None = None
        """The request whose body is being read."""
        self.head_since: float | None = None
        """When the head that is still incomplete began; None between requests and during a body."""
        self.idle_since: float | None = None
        """When the last answer was given, if no other request has begun since."""
        self.rest_since: float | None = None
        """When a request was answered whose body still comes."""
        self._known_host: bytes | None = None
        """A Host header that was found to be in order."""
        self._chunks = 0
        """The number that the body has had which is being read."""
        self._bytes_since_head = 0
        """Received since the last whole head or piece of a body: a line that never ends stays inside the parser."""
        self._in_message = False
        self._in_line = False
        """True while the line that a message begins with has come in part."""

    def begin_in_turn(self, cycle: Cycle) -> None:
        """Begins it when those before it are answered, and its body is there or will not come at once."""
        raise NotImplementedError

    def begin_unstarted(self) -> None:
        """Begins the request whose turn it is, now that its body is there."""
        raise NotImplementedError

    def read(self, data: bytes) -> ServiceError | None:
        """Takes what came, a `PIECE` at most; the reason why nothing after it can be read, if there is one."""
        self._bytes_since_head += len(data)
        if self._in_line or not self._in_message:
            end = data.find(b"\n")
            if self._in_line or end < 2 or not data[:end].isascii():
                data = self._with_escaped_line(data)
        refusal: ServiceError | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            refusal = self._read_on(data, offer)
        except httptools.HttpParserError as error:
            refusal = refusal_by(error, data)
        if refusal is None and self._bytes_since_head > self.max_head_bytes and self._in_message:
            return self._head_too_large()  # the head, a chunk's extension, or the trailers
        return refusal

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": {},
        }
        self.scope = scope
        self._in_message = True
        self.idle_since = None
        self.head_since = time.monotonic()
        self._chunks = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """Makes a request of a head that is in order, and begins it when its turn comes.

        Raises:
            ServiceError: it is not in order; ends the parser.
        """
        # What came in this piece before the head is not counted in it, and what came after it is.
        if self._bytes_since_head + PIECE > self.max_head_bytes and self._head_bytes() > self.max_head_bytes:
            raise self._head_too_large()
        self.head_since = None
        self._bytes_since_head = 0
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise NotImplementedHere("This is no proxy: it connects nobody.")
        if self.parser.should_upgrade():
            return  # `_read_on` gives the head again, without its offer
        version = self.parser.get_http_version()
        fields = dict(self.headers)
        host = fields.get(b"host")
        if (
            host is None or host != self._known_host or len(fields) < len(self.headers) or version != "1.1"
            or b"expect" in fields or b"transfer-encoding" in fields
        ):  # fmt: skip
            check_head(version, self.headers)
            self._known_host = host
        self.reading = self._new_cycle(method, version, expects=b"expect" in fields)
        self.begin_in_turn(self.reading)

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MOST_CHUNKS:
            raise TooLarge(f"The body has more than {MOST_CHUNKS} chunks.")

    def on_body(self, body: bytes) -> None:
        self._bytes_since_head = 0
        cycle = self.reading
        if cycle is None or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._bytes_since_head = 0
        cycle = self.reading
        if cycle is None:
            return  # a head that will be given again
        self._in_message = False
        self.reading = None
        if self.rest_since is not None:
            self.rest_since, self.idle_since = None, time.monotonic()
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
            self.begin_unstarted()

    def _read_on(self, data: bytes, offer: httptools.HttpParserUpgrade) -> ServiceError | None:
        """Goes on where an offer is made to continue in another protocol; returns as `read`.

        The parser stops there, and takes no body. We take none of these offers, so a new one gets the same head
        without the offer, and then what follows.
        """
        pieces: list[bytes | memoryview] = []
        piece: bytes | memoryview = data
        while True:
            method, version = self.parser.get_method(), self.parser.get_http_version()
            head = without_offer(method, self.url, version, self.headers)
            pieces += [memoryview(piece)[offer.args[0] :], head]
            self.parser = new_parser(self)
            try:
                while pieces:
                    piece = pieces.pop()
                    self.parser.feed_data(piece)
                return None
            except httptools.HttpParserUpgrade as another:
                offer = another
            except httptools.HttpParserError as error:
                return refusal_by(error, data)

    def _with_escaped_line(self, data: bytes) -> bytes:
        start = 0 if self._in_line or data[0] not in b"\r\n" else len(data) - len(data.lstrip(b"\r\n"))
        end = data.find(b"\n", start)
        self._in_line = end < 0 and start < len(data)
        line = data[start:] if end < 0 else data[start:end]
        return data if line.isascii() else data[:start] + escaped(line) + data[start + len(line) :]

    def _new_cycle(self, method: bytes, version: str, *, expects: bool) -> Cycle:
        path, query = read_target(method, self.url)
        self.scope["method"] = method.decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii")
        self.scope["raw_path"] = path
        self.scope["query_string"] = query
        return Cycle(
            self.shared,
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expects and version == "1.1",
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def _head_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def _head_too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"The request's head has more than {self.max_head_bytes} bytes.")


def new_parser(protocol: RequestReader) -> httptools.HttpRequestParser:
    """A parser as uvicorn sets it up: what follows a request that ends the connection is no error."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def refusal_by(error: httptools.HttpParserError, data: bytes) -> ServiceError:
    """The answer to `data` that the parser could not read, or that one of our callbacks refused."""
    if not isinstance(error, httptools.HttpParserCallbackError):
        return unreadable(str(error), data)
    if isinstance(error.__context__, ServiceError):
        return error.__context__
    log.error("a request's head could not be taken", exc_info=error.__context__)
    return InternalError("An unexpected error; see the log.")
