"""Lengths, chunks and bodies that never end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable

from bench.attacks.wire import CLOSE, Attack, Target, head, post, raw

CHUNKED = "Transfer-Encoding: chunked"
PIECE = 2**16


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def body_over_limit(target: Target) -> Iterable[bytes]:
    return [post("/predict", bytes(target.body + 1))]


def garbage_up_to_the_limit(target: Target) -> Iterable[bytes]:
    return [post("/predict", bytes(target.body))]


def chunks_over_limit(target: Target) -> Iterable[bytes]:
    yield head("/predict", CHUNKED)
    for _ in range(target.body // PIECE + 2):
        yield chunk(bytes(PIECE))


def many_small_chunks(target: Target) -> Iterable[bytes]:
    """A body within the limit in chunks of one byte."""
    yield head("/predict", CHUNKED)
    for _ in range(min(target.body, 500_000) // 1000):
        yield b"1\r\nx\r\n" * 1000
    yield b"0\r\n\r\n"


def endless_trailers(target: Target) -> Iterable[bytes]:
    """Headers after the body, many times as many bytes as a head may have."""
    yield head("/predict", CHUNKED) + b"1\r\nx\r\n0\r\n"
    for _ in range(1000):
        yield b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * (target.head // 100)


def coded(coding: str, body: Callable[[Target], bytes], *headers: str) -> Callable[[Target], Iterable[bytes]]:
    """A body that says it is in `coding`."""
    return lambda target: [post("/predict", body(target), f"Content-Encoding: {coding}", *headers)]


def empty_members(target: Target) -> bytes:
    """gzip members that hold nothing, up to the limit."""
    return gzip.compress(b"") * (target.body // len(gzip.compress(b"")))


def nothing_but_blocks(target: Target) -> bytes:
    """A deflate stream of stored blocks without content, up to the limit."""
    return b"\x00\x00\x00\xff\xff" * (target.body // 5)


def bomb_in_members(target: Target) -> bytes:
    """Over the limit only when all members are decoded."""
    return gzip.compress(bytes(target.body // 100)) * 101


ZEROS = bytes(200_000_000)
GZIP_BOMB, DEFLATE_BOMB = gzip.compress(ZEROS, 9), zlib.compress(ZEROS, 9)
del ZEROS

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
    Attack("a gzip of 200 MB in 200 kB to /predict", (413,), coded("gzip", lambda target: GZIP_BOMB)),
    Attack("a deflate of 200 MB in 200 kB to /predict", (413,), coded("deflate", lambda target: DEFLATE_BOMB)),
    Attack("a gzip whose members together are over the limit", (413,), coded("gzip", bomb_in_members)),
    Attack("empty gzip members up to the limit", (413,), coded("gzip", empty_members)),
    Attack("deflate blocks of nothing up to the limit", (400,), coded("deflate", nothing_but_blocks)),
    Attack("a gzip of exactly the limit, of zeros", (415,), coded(
        "gzip", lambda target: gzip.compress(bytes(target.body))
    )),
    Attack("a gzip that is none, to /predict", (400,), coded("gzip", lambda target: b"abc")),
    Attack("a gzip that is cut off, to /predict", (400,), coded(
        "gzip", lambda target: gzip.compress(bytes(1000))[:-1]
    )),
    Attack("a gzip with a wrong checksum", (400,), coded(
        "gzip", lambda target: gzip.compress(bytes(1000))[:-8] + bytes(8)
    )),
    Attack("a gzip with something behind it", (400,), coded("gzip", lambda target: gzip.compress(b"x") + b"{}")),
    Attack("a gzip of nothing", (400,), coded("gzip", lambda target: gzip.compress(b""))),
    Attack("a gzip in a gzip", (415,), coded("gzip, gzip", lambda target: gzip.compress(GZIP_BOMB))),
    Attack("a JSON bomb of brackets", (400, 413), coded(
        "gzip", lambda target: gzip.compress(b"[" * target.body), "Content-Type: application/json"
    )),
)  # fmt: skip
