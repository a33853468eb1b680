"""Offers to upgrade to another protocol are ignored: the request is answered once, in HTTP/1.1, with its body."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.service.live_server import LiveServer, picture, running
from tests.service.raw_http import CLOSE, RawAnswer, chunked, get, head, post, talk
from tests.service.tiny_bundles import write_bundle

H2C = ("Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA")

OFFERS = {
    "Java's HttpClient": ("Connection: Upgrade, HTTP2-Settings", *H2C),
    "a client that says it keeps the connection": ("Connection: keep-alive, Upgrade, HTTP2-Settings", *H2C),
    "nginx's map on a plain POST": ("Connection: upgrade", "Upgrade: websocket"),
    "TLS within HTTP": ("Connection: Upgrade", "Upgrade: TLS/1.2"),
    "several at once": ("Upgrade: h2c, websocket", "Connection: Upgrade"),
    "twice": ("Upgrade: h2c", "Connection: upgrade", "Upgrade: websocket"),
    "an empty one": ("Connection: upgrade", "Upgrade: "),
    "none, though it says so": ("Connection: Upgrade",),
    "one that the connection does not name": H2C,
}

Framing = Callable[..., bytes]

COLOURS = ("red", "green", "blue")
PICTURES = {
    colour: picture((255 * (colour == "red"), 255 * (colour == "green"), 255 * (colour == "blue")))
    for colour in COLOURS
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    with running(folder, request_timeout=20) as server:
        yield server


def with_length(colour: str, *headers: str) -> bytes:
    return post(PICTURES[colour], *headers)


def in_chunks(colour: str, *headers: str) -> bytes:
    return head("POST /predict", "Transfer-Encoding: chunked", *headers) + chunked(PICTURES[colour])


def expecting(colour: str, *headers: str) -> bytes:
    return post(PICTURES[colour], "Expect: 100-continue", *headers)


def as_json(colour: str, *headers: str) -> bytes:
    document = json.dumps({"images": [base64.b64encode(PICTURES[colour]).decode()]}).encode()
    return post(document, "Content-Type: application/json", *headers)


FRAMINGS = {"length": with_length, "chunks": in_chunks, "100-continue": expecting, "JSON": as_json}


def whole(message: bytes) -> Iterable[bytes]:
    return [message]


def byte_by_byte(message: bytes) -> Iterable[bytes]:
    return (message[index : index + 1] for index in range(len(message)))


def head_then_rest(message: bytes) -> Iterable[bytes]:
    start, separator, rest = message.partition(b"\r\n\r\n")
    return [start + separator, rest]


PACKETS = {"whole": whole, "byte by byte": byte_by_byte, "head, then the rest": head_then_rest}


def labels(answers: list[RawAnswer]) -> list[str]:
    assert [answer.status for answer in answers] == [200] * len(answers), answers
    return [json.loads(answer.body)["predictions"][0]["labels"][0]["label"] for answer in answers]


@pytest.mark.parametrize("packets", PACKETS.values(), ids=PACKETS)
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_request_with_an_offer_is_answered_once_and_so_are_those_after_it(
    server: LiveServer, offer: tuple[str, ...], framing: Framing, packets: Callable[[bytes], Iterable[bytes]]
) -> None:
    message = framing("red", *offer) + framing("green", *offer) + with_length("blue", CLOSE)
    assert labels(talk(server, packets(message))) == ["red", "green", "blue"]


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_an_offer_that_ends_the_connection_too_is_answered_and_the_connection_ends(
    server: LiveServer, framing: Framing
) -> None:
    message = framing("green", "Connection: close, Upgrade", "Upgrade: h2c")
    answers = talk(server, [message])
    assert labels(answers) == ["green"]
    assert answers[0].headers["connection"] == "close"


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_without_a_body_too(server: LiveServer, offer: tuple[str, ...]) -> None:
    answers = talk(server, [get("/health/live", *offer) + get("/predict", *offer) + get("/health/live", CLOSE)])
    assert [answer.status for answer in answers] == [200, 405, 200]


def test_thousands_in_one_packet_are_answered_each(server: LiveServer) -> None:
    message = get("/health/live", *OFFERS["Java's HttpClient"]) * 2000 + get("/health/live", CLOSE)
    assert [answer.status for answer in talk(server, [message])] == [200] * 2001


def test_a_body_over_the_limit_and_a_head_over_it_are_refused_as_always(server: LiveServer) -> None:
    offer = OFFERS["Java's HttpClient"]
    assert [a.status for a in talk(server, [post(bytes(20_000_000), *offer)])] == [413]
    assert [a.status for a in talk(server, [post(b"x", *offer, "X-Long: " + "x" * 40_000)])] == [431]


def test_only_the_line_of_its_request_is_logged_about_an_offer(
    server: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert labels(talk(server, [with_length("red", *OFFERS["TLS within HTTP"], CLOSE)])) == ["red"]
    of_others = "contraflow.bundles"  # servers of other tests load graphs meanwhile, and say so
    assert [record.name for record in caplog.records if record.name != of_others] == ["contraflow.request"]


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400, "TLS"),
        (head("CONNECT example.org:443"), 501, "proxy"),
    ],
    ids=["HTTP/2 without asking", "TLS on the plain port", "CONNECT"],
)
def test_another_protocol_without_an_offer_is_refused_in_words(
    server: LiveServer, message: bytes, status: int, words: str
) -> None:
    (answer,) = talk(server, [message])
    assert answer.status == status
    assert words in json.loads(answer.body)["detail"]
    assert answer.headers["connection"] == "close"
