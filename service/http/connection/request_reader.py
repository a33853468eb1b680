"""The reading side of a connection: from received bytes to requests.

It adds to uvicorn's: a limit on the head, the checks of RFC 9110, a bound on what is read ahead of its turn, and
requests that offer to switch to another protocol, which are answered as if they did not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import HeadTooLarge, InternalError, NotImplementedHere, ServiceError, TooLarge
from service.http.answers.responses import RawHeaders
from service.http.connection.cycle import Cycle
from service.http.requests.forwarded import Client, TrustedProxies, forwarded_fields
from service.http.requests.heads import (
    NO_HEAD,
    PartOfHead,
    check_head,
    escaped,
    part_of_head,
    path_of,
    read_target,
    unreadable,
    without_offer,
    without_prefix,
)
from service.machine.connections import Connections

log = logging.getLogger("contraflow.http")

MOST_CHUNKS = 2**14
"""Chunks that one body may have: enough for the largest in chunks of 1 KiB, and little work if all have one byte."""

PARSED_PIECE = 2**14
"""Bytes parsed at a time; they can hold hundreds of the smallest requests."""

MOST_PIPELINED = 16
"""Requests that may wait for their turn on one connection; with more, nothing is parsed."""

LONGEST_PARSING = 0.005
"""Seconds of parsing bytes read ahead, after which the event loop gets its turn."""


class RequestReader(HttpToolsProtocol):
    """Reads the requests of one connection; a subclass decides when each begins."""

    max_head_bytes = 32 * 2**10
    path_prefix = ""
    proxies: TrustedProxies | None = None
    shared: Connections

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.url = b""
        self.cycle: Cycle
        """The last request received; it may still wait for those before it."""
        self.reading: Cycle | None = None
        """The request whose body is being read."""
        self.head_since: float | None = None
        """When the incomplete head began; None between requests and during a body."""
        self.idle_since: float | None = None
        """When the last answer was given, if no other request has begun since."""
        self.rest_since: float | None = None
        """When a request was answered whose body is still being received."""
        self.unstarted: Cycle | None = None
        """The request whose turn it is, until the packet with its head is parsed: its body may be in it too."""
        self.discards_input = False
        """True once everything that is received is thrown away."""
        self._ahead = bytearray()
        """Bytes received but not parsed yet, because enough requests wait for their turn."""
        self._parsing_planned = False
        self._checked_host: bytes | None = None
        """A value of the Host header that was found valid."""
        self._chunks = 0
        """Chunks received so far of the current request body."""
        self._bytes_since_head = 0
        """Bytes received since the last whole head or piece of a body; the parser itself bounds no line."""
        self.behind_proxy = False
        """True if the other side is a trusted proxy, so that its word for the client is taken."""
        self._forwarded: RawHeaders = []
        self._sender: tuple[Client, str] | None = None
        """Client and scheme by `_forwarded`, the last that the proxy told."""
        self._in_message = False
        self._in_request_line = False
        """True while only part of a request line has been received."""

    def begin_in_turn(self, cycle: Cycle) -> None:
        """Begin a request once those before it are answered; its body may be in the same packet as its head."""
        raise NotImplementedError

    def begin_unstarted(self) -> None:
        """Begin the request whose turn it is, now that its body is there or did not come with its head."""
        raise NotImplementedError

    def refuse(self, error: ServiceError) -> None:
        """Read no more; answer `error` in its turn, and close the connection."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        if self.discards_input or self.transport.is_closing():
            return
        if len(data) <= PARSED_PIECE and not self._ahead and len(self.pipeline) < MOST_PIPELINED:
            self._take(data)
        else:
            self._ahead += data
            if not self._parsing_planned:
                self._take_ahead()

    def take_on(self) -> None:
        """Parse more of what was received ahead, if there is room again."""
        if self._ahead and len(self.pipeline) < MOST_PIPELINED and not self._parsing_planned:
            self._take_ahead()

    def _take(self, data: bytes) -> None:
        refusal = self._parse(data)
        if self.unstarted is not None:
            self.begin_unstarted()
        if refusal is not None:
            self.refuse(refusal)

    def _take_ahead(self) -> None:
        """Parse what was received ahead, as far as there is room and time.

        Receiving goes on meanwhile, up to a limit: otherwise it would be noticed late that the client has gone.
        """
        self._parsing_planned = False
        until = time.monotonic() + LONGEST_PARSING
        while self._ahead and len(self.pipeline) < MOST_PIPELINED:
            if self.discards_input or self.transport.is_closing():
                self._ahead.clear()
                return
            if time.monotonic() > until:
                self.loop.call_soon(self._take_ahead)
                self._parsing_planned = True
                break
            piece = bytes(self._ahead[:PARSED_PIECE])
            del self._ahead[:PARSED_PIECE]
            self._take(piece)
        if len(self._ahead) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        elif self.reading is None or len(self.reading.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> ServiceError | None:
        """Parse at most `PARSED_PIECE` bytes; return the error after which nothing can be read, if there is one."""
        self._bytes_since_head += len(data)
        if self._in_request_line or not self._in_message:
            end = data.find(b"\n")
            if self._in_request_line or end < 2 or not data[:end].isascii():
                data = self._with_escaped_request_line(data)
        refusal: ServiceError | None = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            refusal = self._without_upgrade(data, offer)
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
        """Check the head, make a request of it, and begin that in its turn.

        Raises:
            ServiceError: the head is refused; this stops the parser.
        """
        # The count is of bytes fed to the parser, so it may be off by what else is in this piece: count exactly.
        if self._bytes_since_head + PARSED_PIECE > self.max_head_bytes and self._head_bytes() > self.max_head_bytes:
            raise self._head_too_large()
        self.head_since = None
        self._bytes_since_head = 0
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise NotImplementedHere("This server is not a proxy; CONNECT is not supported.")
        if self.parser.should_upgrade():
            return  # `_without_upgrade` feeds the head again, without the offer
        version = self.parser.get_http_version()
        fields = dict(self.headers)
        host = fields.get(b"host")
        if (
            host is None or host != self._checked_host or len(fields) < len(self.headers) or version != "1.1"
            or b"expect" in fields or b"transfer-encoding" in fields
        ):  # fmt: skip
            check_head(version, self.headers)
            self._checked_host = host
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
            return  # the head will be fed again
        self._in_message = False
        self.reading = None
        if self.rest_since is not None:
            self.rest_since, self.idle_since = None, time.monotonic()
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
            self.begin_unstarted()

    def _without_upgrade(self, data: bytes, offer: httptools.HttpParserUpgrade) -> ServiceError | None:
        """Parse on after a head that offers to switch to another protocol; return as `_parse` does.

        The parser stops there and takes no body. The service accepts no such offer, so a new parser gets the same head
        without it, and then what follows.
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

    def _with_escaped_request_line(self, data: bytes) -> bytes:
        start = 0 if self._in_request_line or data[0] not in b"\r\n" else len(data) - len(data.lstrip(b"\r\n"))
        end = data.find(b"\n", start)
        self._in_request_line = end < 0 and start < len(data)
        line = data[start:] if end < 0 else data[start:end]
        return data if line.isascii() else data[:start] + escaped(line) + data[start + len(line) :]

    def _new_cycle(self, method: bytes, version: str, *, expects: bool) -> Cycle:
        target, query = read_target(method, self.url)
        path = path_of(target)
        self.scope["method"] = method.decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = without_prefix(path, self.path_prefix) if self.path_prefix else path
        self.scope["raw_path"] = target
        self.scope["query_string"] = query
        if self.behind_proxy:
            self.scope["client"], self.scope["scheme"] = self.sender()
        cycle = Cycle(
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
        cycle.connections = self.shared
        return cycle

    def sender(self) -> tuple[Client | None, str]:
        """Return the client and the scheme of the request whose head was read last, as far as it was read."""
        scheme = self.scheme or "http"
        if not self.behind_proxy or self.proxies is None or self.client is None:
            return self.client, scheme
        told = forwarded_fields(self.headers or [])
        if self._sender is None or told != self._forwarded:
            self._forwarded, self._sender = told, self.proxies.sender(self.client, scheme, told)
        return self._sender

    def head_so_far(self) -> PartOfHead:
        """Return what was read of the head that is being received, or was refused."""
        if not self._in_message or not self.url:
            return NO_HEAD
        head = part_of_head(self.parser.get_method(), self.url, self.headers)
        return head._replace(path=without_prefix(head.path, self.path_prefix)) if self.path_prefix else head

    def _head_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def _head_too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"The request's head has more than {self.max_head_bytes} bytes.")


def new_parser(protocol: RequestReader) -> httptools.HttpRequestParser:
    """Return a parser set up as uvicorn does: bytes after a request that ends the connection are no error."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def refusal_by(error: httptools.HttpParserError, data: bytes) -> ServiceError:
    """Return the error for `data` that the parser could not read, or that one of our callbacks refused."""
    if not isinstance(error, httptools.HttpParserCallbackError):
        return unreadable(str(error), data)
    if isinstance(error.__context__, ServiceError):
        return error.__context__
    log.error("a request's head could not be processed", exc_info=error.__context__)
    return InternalError("An unexpected error; see the log.")
