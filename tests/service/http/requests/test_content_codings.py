"""Bodies compressed as various clients do it, and their limits."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.service.http.requests.conftest import MAX_BODY
from tests.service.live_server import LiveServer, picture, running
from tests.service.responses import labels_of, refusal
from tests.service.tiny_bundles import write_bundle

RED = picture("red")
B64 = base64.b64encode(RED).decode()


def members_of(data: bytes) -> bytes:
    return gzip.compress(data[:50]) + gzip.compress(b"") + gzip.compress(data[50:])


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip": members_of,
    "identity, gzip": gzip.compress,
    ", gzip,": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("coding", CODED)
def test_a_body_of_every_form_may_be_coded(client: httpx.Client, coding: str) -> None:
    request = client.build_request("POST", "/predict", files={"file": ("a.png", RED)})
    bodies = [
        (RED, "image/png"),
        (json.dumps({"images": [B64]}).encode(), "application/json"),
        (json.dumps({"images": [B64]}).encode(), ""),
        (request.read(), request.headers["content-type"]),
    ]
    for body, content_type in bodies:
        headers = {"content-type": content_type, "content-encoding": coding}
        assert labels_of(client.post("/predict", content=CODED[coding](body), headers=headers)) == ["red"]


def test_a_coding_may_stand_in_two_header_fields(server: LiveServer) -> None:
    body = gzip.compress(RED)
    head = (
        "POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\ncontent-ENCODING: gzip\r\nContent-Encoding: identity"
    )
    with server.connect() as connection:
        connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, br", "compress", "gzip;q=1", "aes128gcm"])
def test_a_coding_that_is_not_taken_is_refused_with_those_that_are(client: httpx.Client, coding: str) -> None:
    for body in (RED, gzip.compress(gzip.compress(RED))):
        answer = client.post("/predict", content=body, headers={"content-encoding": coding})
        refusal(answer, 415)
        assert answer.headers["accept-encoding"] == "gzip, deflate"
    open_protocol = client.post("/v2/models/tiny/infer", content=b"{}", headers={"content-encoding": coding})
    assert (open_protocol.status_code, open_protocol.headers["accept-encoding"]) == (400, "gzip, deflate")


BOUNDED = {
    "a gzip without its last byte": ("gzip", gzip.compress(RED)[:-1], 400, "cut off"),
    "a gzip of twelve bytes": ("gzip", gzip.compress(RED)[:12], 400, "cut off"),
    "a deflate without its last byte": ("deflate", zlib.compress(RED)[:-1], 400, "cut off"),
    "a gzip and three bytes": ("gzip", gzip.compress(RED) + b"abc", 400, "3 bytes follow"),
    "a gzip and the start of another": ("gzip", gzip.compress(RED) + b"\x1f\x8b", 400, "cut off"),
    "a deflate twice": ("deflate", zlib.compress(RED) * 2, 400, "bytes follow"),
    "a picture called gzip": ("gzip", RED, 400, "is not gzip"),
    "a picture called deflate": ("deflate", RED, 400, "is not deflate"),
    "a gzip with a wrong checksum": ("gzip", gzip.compress(RED)[:-8] + bytes(8), 400, "is not gzip"),
    "nothing, called gzip": ("gzip", b"", 400, "empty"),
    "a gzip of nothing": ("gzip", gzip.compress(b""), 400, "empty"),
    "as many zeros as are allowed": ("gzip", gzip.compress(bytes(MAX_BODY)), 415, "begin like none"),
    "a zero too many": ("gzip", gzip.compress(bytes(MAX_BODY + 1)), 413, f"{MAX_BODY:,} bytes"),
    "a zero too many in two members": ("gzip", gzip.compress(bytes(MAX_BODY // 2 + 1)) * 2, 413, f"{MAX_BODY:,} bytes"),
    "a hundred million zeros": ("deflate", zlib.compress(bytes(10**8)), 413, ""),
    "999 empty members": ("gzip", gzip.compress(b"") * 999, 400, "empty"),
}


@pytest.mark.parametrize(("coding", "body", "status", "words"), BOUNDED.values(), ids=BOUNDED)
def test_a_coded_body_is_bounded_and_whole(
    client: httpx.Client, coding: str, body: bytes, status: int, words: str
) -> None:
    answer = client.post("/predict", content=body, headers={"content-encoding": coding})
    assert words in refusal(answer, status)


def test_more_members_than_any_client_writes(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.client() as client:
        headers = {"content-encoding": "gzip"}
        many = client.post("/predict", content=gzip.compress(b"") * 1001, headers=headers)
        assert "members" in refusal(many, 413)


def test_what_a_coded_body_grows_to_counts_against_the_bodies_in_flight(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, max_body_bytes_in_flight=100_000) as server, server.client() as client:
        headers = {"content-encoding": "gzip"}
        refused = client.post("/predict", content=gzip.compress(bytes(200_000)), headers=headers)
        assert refusal(refused, 503)
        assert labels_of(client.post("/predict", content=gzip.compress(RED), headers=headers)) == ["red"]
        for _ in range(20):  # what was held is given back, after a refusal too
            assert client.post("/predict", content=gzip.compress(bytes(20_000)), headers=headers).status_code == 415


def test_diagnoses_take_coded_bodies_and_files_under_any_name(server: LiveServer) -> None:
    with server.client() as client:
        body, headers = gzip.compress(b"no image"), {"content-encoding": "gzip"}
        assert "begin like none" in refusal(client.post("/diagnostics/scores", content=body, headers=headers), 415)
        files = {"file": ("x", b"no image")}
        assert "begin like none" in refusal(client.post("/diagnostics/scores", files=files), 415)
