"""Compressed bodies, and the header fields that name their codings and the forms of an answer."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable

from tests.attacks.wire import CLOSE, Attack, Target, post, predict


def coded(coding: str, body: Callable[[Target], bytes], *headers: str) -> Callable[[Target], Iterable[bytes]]:
    """A body whose header field names `coding`."""
    return lambda target: [post("/predict", body(target), f"Content-Encoding: {coding}", *headers)]


def empty_members(target: Target) -> bytes:
    """Empty gzip members, as many as the body's limit allows."""
    return gzip.compress(b"") * (target.body // len(gzip.compress(b"")))


def nothing_but_blocks(target: Target) -> bytes:
    """A deflate stream of empty stored blocks, as many as the body's limit allows."""
    return b"\x00\x00\x00\xff\xff" * (target.body // 5)


def bomb_in_members(target: Target) -> bytes:
    """A gzip body that exceeds the limit only once all its members are decoded."""
    return gzip.compress(bytes(target.body // 100)) * 101


ZEROS = bytes(200_000_000)
GZIP_BOMB, DEFLATE_BOMB = gzip.compress(ZEROS, 9), zlib.compress(ZEROS, 9)
del ZEROS


def fields_of(name: str, unit: str, start: str = "") -> Callable[[Target], Iterable[bytes]]:
    """A request with one header field that repeats `unit` and is half as long as a head may be."""
    return lambda target: [post("/predict", b"x", CLOSE, f"{name}: {start}" + unit * (target.head // 2 // len(unit)))]


def tiny_tensor(target: Target) -> bytes:
    shape = [1, 3, target.side, target.side]
    tensor = {"name": "input", "datatype": "FP32", "shape": shape, "data": [0] * (3 * target.side**2)}
    return json.dumps({"inputs": [tensor]}).encode()


ATTACKS = (
    Attack("an encoding that is not taken", (415,), predict(b"abc", CLOSE, "Content-Encoding: br")),
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
    Attack(
        "thousands of encodings",
        (415,),
        lambda target: [post("/predict", b"abc", CLOSE, "Content-Encoding: " + "gzip," * (target.head // 8))],
    ),
    Attack("an Accept of quotes without end", (415,), fields_of("Accept", '"')),
    Attack("a media type of quotes without end", (415,), fields_of("Content-Type", '"')),
    Attack("a media type of quotes and escapes without end", (415,), fields_of("Content-Type", '"\\')),
    Attack("a media type of parameters without end", (415,), fields_of("Content-Type", "a;")),
    Attack(
        "a boundary of quotes and escapes without end",
        (400,),
        fields_of("Content-Type", '"\\', "multipart/form-data; boundary="),
    ),
    Attack(
        "an Accept-Encoding of quotes and escapes without end",
        (200,),
        lambda target: [
            post(
                f"/v2/models/{target.model}/infer",
                tiny_tensor(target),
                "Accept-Encoding: " + '"\\' * (target.head // 4),
            )
        ],
    ),
)  # fmt: skip
