"""Lengths, chunks and bodies that never end."""

from __future__ import annotations

from collections.abc import Iterable

from tests.attacks.wire import CLOSE, Attack, Target, head, post, raw

CHUNKED = "Transfer-Encoding: chunked"
CHUNK_BYTES = 2**16


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def body_over_limit(target: Target) -> Iterable[bytes]:
    return [post("/predict", bytes(target.body + 1))]


def garbage_up_to_the_limit(target: Target) -> Iterable[bytes]:
    return [post("/predict", bytes(target.body))]


def chunks_over_limit(target: Target) -> Iterable[bytes]:
    yield head("/predict", CHUNKED)
    for _ in range(target.body // CHUNK_BYTES + 2):
        yield chunk(bytes(CHUNK_BYTES))


def many_small_chunks(target: Target) -> Iterable[bytes]:
    """A body within the limit in chunks of one byte."""
    yield head("/predict", CHUNKED)
    for _ in range(min(target.body, 500_000) // 1000):
        yield b"1\r\nx\r\n" * 1000
    yield b"0\r\n\r\n"


def endless_trailers(target: Target) -> Iterable[bytes]:
    """Trailers after the body, many times larger than a head may be."""
    yield head("/predict", CHUNKED) + b"1\r\nx\r\n0\r\n"
    for _ in range(1000):
        yield b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * (target.head // 100)


def endless_extension(target: Target) -> Iterable[bytes]:
    return [head("/predict", CHUNKED) + b"1;", *[b"a" * 2**16] * 16]


HEALTH_WITH_BODY = b"GET /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
HEALTH_IN_CHUNKS = b"GET /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


ATTACKS = (
    Attack("no body", (400,), lambda target: [post("/predict")]),
    Attack("a body that stops", (408,), raw(head("/predict", "Content-Length: 100") + b"abc")),
    Attack("a chunked body that stops", (408,), raw(head("/predict", CHUNKED) + b"5\r\nabc")),
    Attack("a body over the limit", (413,), body_over_limit),
    Attack("a body of exactly the limit, of zeros", (415,), garbage_up_to_the_limit),
    Attack("a chunked body over the limit", (413,), chunks_over_limit),
    Attack(
        "a body over the limit that waits to be told",
        (413,),
        raw(head("/predict", "Expect: 100-continue", "Content-Length: 999999999999")),
    ),
    Attack("a length of 2^64", (400,), raw(head("/predict", f"Content-Length: {2**64}"))),
    Attack("a length that is no number", (400,), raw(head("/predict", "Content-Length: many"))),
    Attack("a negative length", (400,), raw(head("/predict", "Content-Length: -1"))),
    Attack("two lengths", (400,), raw(head("/predict", "Content-Length: 3", "Content-Length: 4") + b"abcd")),
    Attack("a length and chunks", (400,), raw(head("/predict", CLOSE, "Content-Length: 4", CHUNKED) + b"0\r\n\r\n")),
    Attack(
        "chunks within a coding that is not known", (501,), raw(head("/predict", "Transfer-Encoding: gzip, chunked"))
    ),
    Attack("chunks twice", (400,), raw(head("/predict", CHUNKED, CHUNKED) + b"0\r\n\r\n")),
    Attack("chunks in HTTP/1.0", (400,), raw(head("/predict", CHUNKED).replace(b"1.1", b"1.0") + b"0\r\n\r\n")),
    Attack("a first chunk with an endless extension", (431,), endless_extension),
    Attack("a body that stops after its answer", (200,), raw(HEALTH_WITH_BODY + b"abc")),
    Attack("a body that goes wrong after its answer", (200,), raw(HEALTH_IN_CHUNKS + b"zz\r\n")),
    Attack("chunks that are not the last coding", (400,), raw(head("/predict", "Transfer-Encoding: chunked, gzip"))),
    Attack("a chunk of a size that is no number", (400,), raw(head("/predict", CHUNKED) + b"zz\r\n")),
    Attack("a chunk of 2^64 bytes", (400,), raw(head("/predict", CHUNKED) + b"1" + b"0" * 16 + b"\r\n")),
    Attack("a chunk longer than it says", (400,), raw(head("/predict", CHUNKED) + b"1\r\nxxxxx\r\n0\r\n\r\n")),
    Attack("half a million chunks of one byte", (413,), many_small_chunks),
    Attack("trailers that never end", (431,), endless_trailers),
    Attack(
        "a chunk's extension that never ends",
        (408, 400, 431),
        lambda target: [head("/predict", CHUNKED) + b"1;" + b"a" * 10 * target.head],
    ),
)
