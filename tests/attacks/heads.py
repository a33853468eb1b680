"""Request lines, headers, addresses and queries."""

from __future__ import annotations

from collections.abc import Iterable

from tests.attacks.wire import Attack, Target, head, post, predict, raw

OPEN_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def endless_header(target: Target) -> Iterable[bytes]:
    return [OPEN_HEAD + b"X-A: " + b"a" * (target.head + 1000)]


def endless_header_in_pieces(target: Target) -> Iterable[bytes]:
    return [OPEN_HEAD + b"X-A: "] + [b"a" * 1000] * (target.head // 1000 + 2)


def header_name_without_end(target: Target) -> Iterable[bytes]:
    return [OPEN_HEAD + b"a" * (target.head + 1000)]


def many_headers(target: Target) -> Iterable[bytes]:
    return [OPEN_HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(target.head // 5)) + b"\r\n"]


def long_address(target: Target) -> Iterable[bytes]:
    return [get(b"/" + b"a" * (target.head + 1000))]


def long_query(target: Target) -> Iterable[bytes]:
    return [post("/predict?model=" + "a" * (target.head - 500), b"x")]


def more_than_anybody_reads(target: Target) -> Iterable[bytes]:
    return [b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000] * 1000


OFFER = ("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0")


ATTACKS = (
    Attack("no HTTP at all", (400,), raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5)),
    Attack("an unknown method", (400,), raw(b"BREW /predict HTTP/1.1\r\nHost: x\r\n\r\n")),
    Attack("a bad version", (505,), raw(b"GET / HTTP/9.9\r\n\r\n")),
    Attack("the preface of HTTP/2", (505,), raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    Attack("a proxy's CONNECT", (501,), raw(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n")),
    Attack("no host", (400,), raw(b"GET / HTTP/1.1\r\n\r\n")),
    Attack("two hosts", (400,), raw(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")),
    Attack("a host that is none", (400,), raw(b"GET / HTTP/1.1\r\nHost: x/../y\r\n\r\n")),
    Attack("a request of HTTP/0.9", (505,), raw(b"GET /\r\n\r\n")),
    Attack("an expectation that is not known", (417,), predict(b"x", "Expect: a miracle")),
    Attack("a header that never ends", (431,), endless_header),
    Attack("a header that comes in pieces and never ends", (431,), endless_header_in_pieces),
    Attack("a header's name that never ends", (431,), header_name_without_end),
    Attack("ten thousand headers", (431,), many_headers),
    Attack("a header without a colon", (400,), raw(OPEN_HEAD + b"nonsense\r\n\r\n")),
    Attack("a null byte in a header", (400,), raw(OPEN_HEAD + b"X-A: a\x00b\r\n\r\n")),
    Attack("a folded header", (400,), raw(OPEN_HEAD + b"X-A: a\r\n  b\r\nContent-Length: 0\r\n\r\n")),
    Attack("a very long address", (431,), long_address),
    Attack("a very long query", (404,), long_query),
    Attack("a head that stops", (408,), raw(b"POST /pre")),
    Attack("nothing at all", (408,), raw(b"")),
    Attack("a path out of the folder", (404,), raw(get(b"/static/../../pyproject.toml"))),
    Attack("an encoded path out of the folder", (404,), raw(get(b"/static/%2e%2e/%2e%2e/pyproject.toml"))),
    Attack("a path that is no UTF-8", (404,), raw(get(b"/%ff%fe"))),
    Attack("a null byte in a path", (404,), raw(get(b"/static/%00"))),
    Attack("a query that is no UTF-8", (404,), predict(b"x", query="?model=%ff")),
    Attack("a null byte in a model's name", (404,), predict(b"x", query="?model=%00")),
    Attack("a path as a model's name", (404,), predict(b"x", query="?model=../../etc/passwd")),
    Attack("a model's version of a thousand digits", (404,), predict(b"x", query="?version=" + "9" * 1000)),
    Attack("three hundred parameters", (400,), predict(b"x", query="?" + "&".join(f"a{n}=1" for n in range(300)))),
    Attack("a top_k of ten digits", (422,), predict(b"x", query="?top_k=9999999999")),
    Attack("a negative top_k", (422,), predict(b"x", query="?top_k=-1")),
    Attack("a deadline that is no number", (400,), predict(b"x", "X-Deadline-Ms: nan")),
    Attack("a negative deadline", (400,), predict(b"x", "X-Deadline-Ms: -5")),
    Attack("an endless deadline", (415,), predict(b"x", "X-Deadline-Ms: inf")),
    Attack("a request id that could break a log", (415,), predict(b"x", "X-Request-Id: a\tb'}<script>")),
    Attack("a method that the address does not take", (405,), raw(b"DELETE /predict HTTP/1.1\r\nHost: x\r\n\r\n")),
    Attack(
        "a WebSocket",
        (405,),
        raw(
            b"GET /predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ),
    ),
    Attack("an upgrade to HTTP/2", (400, 415), predict(b"x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")),
    Attack("thousands of upgrades in one packet", (400,), lambda target: [head("/predict", *OFFER) * 3000]),
    Attack(
        "garbage behind a good request", (200,), raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + b"\0" * 100_000)
    ),
    Attack("much is asked for and nothing is read", (0, 200), more_than_anybody_reads),
    Attack("a hundred pipelined requests", (400,), lambda target: [head("/predict", "Content-Length: 0") * 100]),
)
