"""Bodies that people send to `/predict`: forms, JSON and compression as various clients write them."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.http.requests.submission import read_query
from tests.service.live_server import LiveServer, best_label, picture, running
from tests.service.tiny_bundles import write_bundle

RED, GREEN, BLUE = picture("red"), picture((0, 255, 0)), picture("blue")
B64 = base64.b64encode(RED).decode()
MAX_BODY = 20_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder, max_images=4, max_body_bytes=MAX_BODY) as server:
        yield server


@pytest.fixture
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def labels_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [best_label(answer, index) for index in range(len(answer.json()["predictions"]))]


def refusal(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


# ---------------------------------------------------------------- multipart


@pytest.mark.parametrize("name", ["images", "image", "file", "data", "upload", "images[]", "images[0]", "фото", ""])
def test_one_file_is_taken_under_any_name(client: httpx.Client, name: str) -> None:
    assert labels_of(client.post("/predict", files={name: ("a.png", RED)})) == ["red"]


@pytest.mark.parametrize(
    "names", [["images"] * 3, ["images[]"] * 3, ["images[0]", "images[1]", "images[2]"], ["image_1", "image_2", "x"]]
)
def test_files_are_answered_in_the_order_they_came(client: httpx.Client, names: list[str]) -> None:
    files = [(name, ("a.png", data)) for name, data in zip(names, (GREEN, RED, BLUE), strict=True)]
    assert labels_of(client.post("/predict", files=files)) == ["green", "red", "blue"]


def test_an_input_of_a_browsers_form_without_a_file_is_no_image(client: httpx.Client) -> None:
    no_file = ("", b"", "application/octet-stream")
    answer = client.post("/predict", files=[("file1", ("a.png", RED, "image/png")), ("file2", no_file)])
    assert labels_of(answer) == ["red"]
    nothing = client.post("/predict", files=[("file", no_file)])
    assert "no image" in refusal(nothing, 400)


def test_a_file_that_is_empty_is_said_to_be(client: httpx.Client) -> None:
    assert "no bytes" in refusal(client.post("/predict", files={"images": ("null", b"")}), 400)


def test_a_picture_without_a_files_name_is_known_by_its_field_or_its_type(client: httpx.Client) -> None:
    for part in (("images", (None, RED)), ("image[1]", (None, RED)), ("photo", (None, RED, "image/png"))):
        assert labels_of(client.post("/predict", files=[part])) == ["red"]
    assert "is not an image" in refusal(client.post("/predict", files={"images": (None, B64.encode())}), 415)


def test_options_stand_beside_files_and_may_be_files_themselves(client: httpx.Client) -> None:
    files: Any = [("file", ("a.png", RED)), ("top_k", (None, b"1")), ("model", ("blob", b"tiny", "text/plain"))]
    answer = client.post("/predict", files=files)
    assert labels_of(answer) == ["red"]
    assert len(answer.json()["predictions"][0]["labels"]) == 1


def test_options_that_are_left_empty_are_not_given(client: httpx.Client) -> None:
    fields = {"model": "", "version": "", "top_k": "", "label": ""}
    assert labels_of(client.post("/predict", files={"file": RED}, data=fields)) == ["red"]
    assert labels_of(client.post("/predict", params=fields, content=RED)) == ["red"]
    assert labels_of(client.post("/predict?model=&model=tiny", files={"file": RED})) == ["red"]


def test_a_field_that_is_not_known_is_refused_by_name(client: httpx.Client) -> None:
    with_file = client.post("/predict", files={"images": RED}, data={"description": "hello"})
    assert "'description'" in refusal(with_file, 422)
    without = client.post("/predict", files={"description": (None, b"hello"), "title": (None, b"x")})
    assert "`description`, `title`" in refusal(without, 400)


def test_more_files_than_images_are_allowed(client: httpx.Client) -> None:
    assert "5 images; the limit is 4" in refusal(client.post("/predict", files=[("f", RED)] * 5), 413)


def test_a_boundary_that_is_missing_is_asked_for(client: httpx.Client) -> None:
    answer = client.post("/predict", content=RED, headers={"content-type": "multipart/form-data"})
    assert "no boundary" in refusal(answer, 400)


@pytest.mark.parametrize("media_type", ["multipart/form-data", "Multipart/Form-Data", "multipart/mixed"])
@pytest.mark.parametrize("boundary", ["b", '"b"', "b; charset=utf-8"])
def test_multipart_however_its_type_is_written(client: httpx.Client, media_type: str, boundary: str) -> None:
    body = b"preamble\r\n--b\r\nContent-Type: image/png\r\n\r\n" + RED + b"\r\n--b--\r\nepilogue"
    answer = client.post("/predict", content=body, headers={"content-type": f"{media_type}; boundary={boundary}"})
    assert labels_of(answer) == ["red"]


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8",
     "text/json", "application/vnd.api+json", "text/plain", "application/x-www-form-urlencoded",
     "application/octet-stream", ""],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_known_by_its_type_or_its_first_byte(client: httpx.Client, content_type: str, encoding: str) -> None:
    body = json.dumps({"images": [B64]}, indent=2).encode(encoding)
    assert labels_of(client.post("/predict", content=body, headers={"content-type": content_type})) == ["red"]


def test_blanks_may_stand_before_json(client: httpx.Client) -> None:
    body = b"\r\n\t " + json.dumps({"images": [B64]}).encode()
    assert labels_of(client.post("/predict", content=body)) == ["red"]


def test_a_picture_of_small_size_goes_the_short_way_whatever_its_type_is_called(client: httpx.Client) -> None:
    for content_type in ("IMAGE/PNG", "application/x-www-form-urlencoded", "x", ";;;", "image/png" + ";a" * 200):
        assert labels_of(client.post("/predict", content=RED, headers={"content-type": content_type})) == ["red"]
    as_json = client.post("/predict", content=RED, headers={"content-type": "APPLICATION/JSON"})
    assert "not valid JSON" in refusal(as_json, 400)


@pytest.mark.parametrize(
    "document",
    [
        {"images": B64},
        {"image": B64},
        {"image": [B64]},
        {"images": {"data": B64}},
        {"image": {"data": B64, "label": None}},
        {"images": [B64], "image": None, "model": None, "version": None, "top_k": None, "labels": None},
        {"images": [f"data:image/png;base64,{B64}\n"]},
        {"images": [B64.rstrip("=").replace("+", "-").replace("/", "_")], "model": "", "top_k": ""},
    ],
)
def test_one_image_may_stand_alone_and_null_is_nothing(client: httpx.Client, document: dict[str, Any]) -> None:
    assert labels_of(client.post("/predict", json=document)) == ["red"]


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"instances": [{"b64": B64}]}, 400, "must have `images`"),
        ({"instances": [{"b64": B64}]}, 400, "it has `instances`"),
        ({"images": [{"b64": B64}]}, 400, "this one has `b64`"),
        ({"images": [{"url": "http://x/y.jpg"}]}, 400, "this one has `url`"),
        ({"images": [{}]}, 400, "no `data`"),
        ({"images": [{"data": B64, "lable": "red"}]}, 422, "not `lable`"),
        ({"images": ["http://127.0.0.1:1/x.jpg"]}, 400, "URLs are not fetched"),
        ({"images": [B64], "image": B64}, 400, "both"),
        ({"images": None}, 400, "must have `images`"),
        ({"images": []}, 400, "is empty"),
        ({"images": [[B64]]}, 400, "An image is base64"),
        ({"images": ["QU JD"]}, 400, "not valid base64"),
    ],
)
def test_json_that_is_not_ours_is_refused_with_the_name_that_is(
    client: httpx.Client, document: dict[str, Any], status: int, words: str
) -> None:
    assert words in refusal(client.post("/predict", json=document), status)


def test_a_form_of_fields_alone_is_told_what_to_send(client: httpx.Client) -> None:
    assert "--data-binary" in refusal(client.post("/predict", data={"image": B64, "top_k": "1"}), 415)


# ---------------------------------------------------------------- content codings


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
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
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
    "a zero too many": ("gzip", gzip.compress(bytes(MAX_BODY + 1)), 413, str(MAX_BODY)),
    "a zero too many in two members": ("gzip", gzip.compress(bytes(MAX_BODY // 2 + 1)) * 2, 413, str(MAX_BODY)),
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


# ---------------------------------------------------------------- queries


NAIVE = "naïve 猫"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (NAIVE.replace(" ", "+").encode(), NAIVE),
        (NAIVE.replace(" ", "%20").encode(), NAIVE),
        (b"na%C3%AFve+%E7%8C%AB", NAIVE),
        (b"na%c3%afve%20%e7%8c%ab", NAIVE),
        ("naïve".encode("latin-1"), "naïve"),
        (b"na%EFve", "naïve"),
        (b"1%2B1+%26", "1+1 &"),
    ],
)
def test_a_query_may_be_utf_8_or_latin_1_as_it_is_or_in_percent_codes(written: bytes, read: str) -> None:
    assert read_query(b"label=" + written + b"&" + written + b"=") == {"label": [read], read: [""]}


@pytest.mark.parametrize("path", ["/predict", "/diagnostics/scores"])
@pytest.mark.parametrize("written", ["na%C3%AFve+%E7%8C%AB", "na%c3%afve%20%e7%8c%ab"])
def test_percent_codes_in_an_address_are_utf_8(client: httpx.Client, path: str, written: str) -> None:
    answer = client.post(f"{path}?model={written}", content=RED)
    assert f"There is no model {NAIVE!r}" in refusal(answer, 404)


@pytest.mark.parametrize("name", ["top_k", "version", "model"])
def test_an_option_that_is_given_twice_is_refused(client: httpx.Client, name: str) -> None:
    value = "tiny" if name == "model" else "1"
    twice = httpx.QueryParams([(name, value), (name, value)])
    for answer in (
        client.post("/predict", params=twice, content=RED),
        client.post("/predict", params=twice, files={"file": RED}),
    ):
        assert f"`{name}` is given more than once" in refusal(answer, 422)
