"""Options in the query of a request: their encodings, and options that are given twice."""

from __future__ import annotations

import httpx
import pytest

from service.http.requests.submission import read_query
from tests.service.live_server import picture
from tests.service.responses import refusal

RED = picture("red")
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
