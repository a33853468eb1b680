"""Valid bodies spoiled at random: each is parsed or refused with one of our errors.

`make fuzz` draws many more.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import ServiceError
from service.http.answers.negotiation import preferred_coding, prefers
from service.http.open_inference.requests import InferRequest, read_request
from service.http.requests.content_coding import DECODED_PIECE, coding_of, decoded
from service.http.requests.forms import Form, Limits, read_form
from service.http.requests.submission import read_query
from service.images.errors import ImageError

EXAMPLES = 100 * int(os.environ.get("FUZZ_EXAMPLES", "3"))
OPTIONS = frozenset({"images", "labels", "label", "model", "top_k"})
LIMITS = Limits(images=4, json_depth=8)


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = _picture()
TEXT = base64.b64encode(PICTURE).decode()
HEAD = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\nContent-Type: image/png\r\n'
PART = HEAD + b"\r\n%s\r\n"
IN_BASE64 = HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n%s\r\n"
JSON, MULTIPART = b"application/json", b'multipart/form-data; boundary="b"'

GOOD: list[tuple[bytes, bytes]] = [
    (PICTURE, b"image/png"),
    (json.dumps({"images": [TEXT, {"data": TEXT, "label": 3}], "top_k": 1}).encode(), JSON),
    (json.dumps({"image": "data:image/png;base64," + TEXT.replace("+", "%2B")}).encode(), b"text/plain"),
    (json.dumps({"images": TEXT}).encode("utf-16"), JSON),
    (b"preamble\r\n" + PART % (b"images[]", PICTURE) + PART % (b"top_k", b"1") + b"--b--\r\nepilogue", MULTIPART),
    (IN_BASE64 % (b"f", TEXT.encode()) + b"--b--", MULTIPART),
    (b"image=" + TEXT.encode(), b"application/x-www-form-urlencoded"),
]

TENSOR = {"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1], "parameters": None}
IMAGE = {"name": "image", "datatype": "BYTES", "shape": [-1], "data": [TEXT]}
INFER = [
    json.dumps({"id": None, "inputs": [TENSOR], "outputs": [{"name": "logits", "parameters": {"binary_data": None}}]}),
    json.dumps({"inputs": [IMAGE, {"name": "label", "datatype": "INT64", "shape": [1], "data": [3]}]}),
    json.dumps({"inputs": [IMAGE | {"shape": None, "data": TEXT, "parameters": {"content_type": "base64"}}]}),
]

TOKENS = [b"\r\n", b"\n", b"--b", b"--b--", b"--", b'"', b"\\", b";", b"=", b"==", b"%", b"%2", b"\x00", b"\xff", b"{",
          b"[", b"]", b"}", b",", b":", b"null", b"-1", b"1e999", b'"\\ud800"', b"data:", b";base64,", b"http://",
          b"filename=", b"name=", b"Content-Transfer-Encoding: ", b"\xef\xbb\xbf", b"\x1f\x8b"]  # fmt: skip

changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(TOKENS) | st.binary(max_size=6)), max_size=6
)


def spoiled(body: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Apply edits, each of which replaces a number of bytes at a fraction of the length."""
    for where, length, put in edits:
        start = round(where * len(body))
        body = body[:start] + put + body[start + length :]
    return body


def outcome(act: Callable[[], object]) -> object:
    """Return the result of a call, or the error of ours that it raised."""
    try:
        return act()
    except (ServiceError, ImageError) as raised:
        error = raised
    assert 400 <= error.status < 500
    assert error.detail
    return error


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(GOOD), changes, st.sampled_from([None, JSON, MULTIPART, b""]))
def test_a_form_is_read_or_refused(
    good: tuple[bytes, bytes], edits: list[tuple[float, int, bytes]], other: bytes | None
) -> None:
    body, content_type = good
    content_type = content_type if other is None else other
    form = outcome(lambda: read_form(spoiled(body, edits), content_type, OPTIONS, LIMITS))
    if isinstance(form, Form):
        assert 0 < len(form.images) == len(form.labels.of_images) <= LIMITS.images
        assert all(isinstance(image, bytes) for image in form.images)


@pytest.mark.parametrize("number", range(len(GOOD) - 1))
def test_what_is_not_spoiled_is_read(number: int) -> None:
    form = read_form(*GOOD[number], OPTIONS, LIMITS)
    assert set(form.images) == {PICTURE}


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(INFER), changes, st.none() | st.integers(0, 300))
def test_an_infer_request_is_read_or_refused(
    good: str, edits: list[tuple[float, int, bytes]], length: int | None
) -> None:
    body = spoiled(good.encode(), edits)
    read = outcome(lambda: read_request(body, None if length is None else str(length), lambda *_: None))
    if isinstance(read, InferRequest):
        assert read.inputs


COMPRESSIONS: list[Callable[[bytes], bytes]] = [gzip.compress, zlib.compress]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(COMPRESSIONS),
    st.binary(max_size=300),
    changes,
    st.sampled_from(["gzip", "deflate"]),
)
def test_a_coded_body_is_decoded_or_refused(
    code: Callable[[bytes], bytes], content: bytes, edits: list[tuple[float, int, bytes]], coding: str
) -> None:
    pieces = outcome(lambda: list(decoded(spoiled(code(content), edits), coding)))
    if isinstance(pieces, list):
        assert all(0 < len(piece) <= DECODED_PIECE for piece in pieces)
        right = code is (gzip.compress if coding == "gzip" else zlib.compress)
        assert not right or edits or b"".join(pieces) == content


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(alphabet='gzip,;=q01."\\ */\t', max_size=40) | st.text(max_size=40))
@example("gzip;q=0")
def test_any_field_is_understood_or_left_out_of_account(field: str) -> None:
    assert preferred_coding(field) in (None, "gzip", "deflate")
    assert isinstance(prefers(field, "image/svg+xml", "application/json"), bool)
    outcome(lambda: coding_of(field))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=60))
def test_any_query_is_read(query: bytes) -> None:
    read = outcome(lambda: read_query(query))
    assert isinstance(read, dict)
    assert all(text.encode() or text == "" for values in read.values() for text in values)
