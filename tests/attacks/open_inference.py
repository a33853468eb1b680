"""Tensors of the open protocol: lengths that lie, sizes that overflow, compressed bombs."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from tests.attacks.wire import Attack, Target, post

HEADER = "Inference-Header-Content-Length"
GZIP, DEFLATE = "Content-Encoding: gzip", "Content-Encoding: deflate"

Messages = Callable[[Target], Iterable[bytes]]


def infer(target: Target, document: object, tail: bytes = b"", *headers: str) -> Iterable[bytes]:
    """An infer request: JSON (or any bytes in its place), then raw tensors."""
    start = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = (*headers, f"{HEADER}: {len(start)}") if tail else headers
    return [post(f"/v2/models/{target.model}/infer", start + tail, *headers)]


def whole(body: Callable[[Target], bytes] | bytes, *headers: str) -> Messages:
    """A body as it is."""
    return lambda target: infer(target, body if isinstance(body, bytes) else body(target), b"", *headers)


def tensor(**changes: Any) -> Messages:
    """A valid request with one input `input` in JSON, with changes."""
    return lambda target: infer(target, {"inputs": [good(target) | changes]})


def good(target: Target) -> dict[str, Any]:
    shape = [1, 3, target.side, target.side]
    return {"name": "input", "datatype": "FP32", "shape": shape, "data": [0.5] * (3 * target.side**2)}


def binary(raw: bytes, size: object, **changes: Any) -> Messages:
    """A request with one input `image` whose bytes follow the JSON; the size that it names may be wrong."""
    entry = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
    return lambda target: infer(target, {"inputs": [entry | changes]}, raw)


def with_fields(**fields: Any) -> Messages:
    return lambda target: infer(target, {"inputs": [good(target)], **fields})


def filled(start: bytes, unit: bytes, end: bytes) -> Callable[[Target], bytes]:
    return lambda target: start + unit * ((target.body - len(start) - len(end)) // len(unit)) + end


def empty_strings(target: Target) -> Iterable[bytes]:
    """A tensor of as many empty byte strings as a body can hold, at four bytes each."""
    count = (target.body - 1000) // 4
    entry = {"name": "image", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": 4 * count}}
    return infer(target, {"inputs": [entry]}, bytes(4 * count))


def as_many_outputs(target: Target) -> Iterable[bytes]:
    """A request that names the same output again and again."""
    count = (target.body - len(json.dumps(good(target))) - 1000) // len('{"name": "logits"}, ')
    return infer(target, {"inputs": [good(target)], "outputs": [{"name": "logits"}] * count})


def as_many_inputs(target: Target) -> Iterable[bytes]:
    entry = {"name": "", "datatype": "BYTES", "shape": [0], "data": []}
    entries = [entry | {"name": str(number)} for number in range((target.body - 1000) // 70)]
    return infer(target, {"inputs": entries})


START = b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": ['
BOMB = gzip.compress(bytes(200_000_000), compresslevel=9)

ATTACKS = (
    Attack("no infer request", (400,), whole(b"")),
    Attack("an infer request that is no JSON", (400,), whole(b"cat")),
    Attack("an infer request that is a list", (400,), whole(b"[]")),
    Attack("an infer request nested without end", (400, 413), whole(filled(b'{"inputs": ', b"[", b""))),
    Attack("parameters nested without end", (400,), whole(b'{"inputs":[],"parameters":' + b'{"a":' * 10_000)),
    Attack("numbers up to the limit in JSON", (400, 413), whole(filled(START, b"0,", b"0]}]}"))),
    Attack("fractions up to the limit in JSON", (400, 413), whole(filled(START, b"0.1,", b"0]}]}"))),
    Attack("lists of one number up to the limit", (400, 413), whole(filled(START, b"[0],", b"[0]]}]}"))),
    Attack("strings for numbers", (400,), tensor(data=["x"])),
    Attack("truths for numbers", (400,), tensor(data=[True, None])),
    Attack("a ragged tensor", (400,), tensor(data=[[1.0], [1.0, 2.0]])),
    Attack("numbers beyond float64", (400,), whole(START + b"1e999]}]}")),
    Attack("a negative size", (400,), tensor(shape=[-1, 3, 8, 8])),
    Attack("a size of 2^40", (400,), tensor(shape=[2**40, 3, 8, 8])),
    Attack("sizes whose product is 2^248", (400,), tensor(shape=[2**31 - 1] * 8)),
    Attack("sizes of 0 beside 2^31", (400,), tensor(shape=[0, 2**31 - 1], data=[])),
    Attack("a thousand sizes", (400,), tensor(shape=[1] * 1000)),
    Attack("sizes that are truths", (400,), tensor(shape=[True, 3, 8, 8])),
    Attack("an unknown datatype", (400,), tensor(datatype="FP31")),
    Attack("a datatype that is a list", (400,), tensor(datatype=["FP32"])),
    Attack("the same input twice", (400,), lambda target: infer(target, {"inputs": [good(target)] * 2})),
    Attack("inputs up to the limit", (400, 413), as_many_inputs),
    Attack("outputs up to the limit", (400, 413), as_many_outputs),
    Attack("an unknown output", (400,), with_fields(outputs=[{"name": "x" * 10_000}])),
    Attack("a billion ranked classes", (200, 400), with_fields(
        outputs=[{"name": "logits", "parameters": {"classification": 10**9}}]
    )),
    Attack("an id that is a number", (400,), with_fields(id=7)),
    Attack("an id of half the limit", (413,), lambda target: infer(
        target, {"inputs": [good(target)], "id": "i" * (target.body // 2)}
    )),
    Attack("a header length outside the body", (400,), whole(b"{}", f"{HEADER}: 3")),
    Attack("a negative header length", (400,), whole(b"{}", f"{HEADER}: -1")),
    Attack("a header length of a thousand digits", (400,), whole(b"{}", f"{HEADER}: {'9' * 1000}")),
    Attack("a binary size beyond the body", (400,), binary(b"1234", 2**40)),
    Attack("a negative binary size", (400,), binary(b"1234", -4)),
    Attack("a binary size that is a fraction", (400,), binary(b"1234", 1.5)),
    Attack("spare bytes after the last tensor", (400,), binary(b"12345678", 4)),
    Attack("a byte string of 4 GB in four bytes", (400,), binary(struct.pack("<I", 2**32 - 1), 4)),
    Attack("a byte string that is cut off", (400,), binary(struct.pack("<I", 9) + b"abc", 7)),
    Attack("byte strings up to the limit", (400, 413), empty_strings),
    Attack("a tensor one byte short", (400,), binary(
        bytes(11), 11, name="input", datatype="FP32", shape=[1, 3, 1, 1]
    )),
    Attack("pictures nested without end", (400,), whole(
        b'{"inputs": [{"name": "image", "datatype": "BYTES", "data": ' + b"[" * 950 + b'"x"' + b"]" * 950 + b"}]}"
    )),
    Attack("pictures without a shape up to the limit", (400, 413), whole(
        filled(b'{"inputs": [{"name": "image", "datatype": "BYTES", "data": [', b'"",', b'""]}]}')
    )),
    Attack("one picture of zeros in base64 up to the limit", (400,), whole(
        filled(b'{"inputs": [{"name": "image", "datatype": "BYTES", "data": "', b"AAAA", b'"}]}')
    )),
    Attack("a picture that is no base64", (400,), whole(
        b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["\xc3\xbf\xc3\x98"]}]}'
    )),
    Attack("nulls for everything", (400,), tensor(name=None, shape=None, datatype=None, data=None)),
    Attack("a shape that is null", (400,), tensor(shape=None)),
    Attack("parameters that are a list", (400,), with_fields(parameters=[])),
    Attack("no image as the whole body", (400,), whole(b"no image", f"{HEADER}: 0")),
    Attack("a gzip of 200 MB in 200 kB", (413,), whole(BOMB, GZIP)),
    Attack("a deflate of 200 MB in 200 kB", (413,), whole(zlib.compress(bytes(200_000_000), 9), DEFLATE)),
    Attack("a gzip that is none", (400,), whole(b"{}", GZIP)),
    Attack("a gzip that is cut off", (400,), whole(gzip.compress(b"{}" * 1000)[:-9], GZIP)),
    Attack("a gzip of a gzip", (400, 413), whole(gzip.compress(BOMB), GZIP)),
    Attack("an unknown coding", (400,), whole(b"{}", "Content-Encoding: br")),
    Attack("a model to be loaded", (400,), lambda target: [post("/v2/repository/models/x/load", b"{}")]),
)  # fmt: skip
