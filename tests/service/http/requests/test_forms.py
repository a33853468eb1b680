"""Bodies that people send to `/predict`: multipart forms and JSON as various clients write them."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.service.live_server import picture
from tests.service.responses import labels_of, refusal

RED, GREEN, BLUE = picture("red"), picture((0, 255, 0)), picture("blue")
B64 = base64.b64encode(RED).decode()


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
