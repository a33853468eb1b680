"""Base64 in the variants that clients write; spoiled texts are refused."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedRequest
from service.http.requests import base64_text
from service.http.requests.base64_text import from_base64

BYTES = bytes(range(256)) * 5 + b"\xfb\xff\xfe"
PLAIN = base64.b64encode(BYTES).decode()
PERCENT = PLAIN.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D")

DRESSES = {
    "plain": PLAIN,
    "lines of 76": base64.encodebytes(BYTES).decode(),
    "lines that end in CRLF": "\r\n".join(PLAIN[i : i + 64] for i in range(0, len(PLAIN), 64)),
    "URL-safe": base64.urlsafe_b64encode(BYTES).decode(),
    "both alphabets": PLAIN[:900] + PLAIN[900:].replace("+", "-").replace("/", "_"),
    "spaces around": f"  {PLAIN} \n ",
    "a data URL": f"data:image/png;base64,{PLAIN}",
    "a data URL in capitals": f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
    "a data URL with a charset": f"data:image/jpeg;charset=utf-8;base64,{PLAIN}",
    "a data URL without a type": f"data:;base64,{PLAIN}",
    "a data URL with percent codes": f"data:;base64,{PERCENT}",
    "a data URL in a line of its own": f"\ndata:image/png;base64,{PLAIN}\n",
}


@pytest.mark.parametrize("dress", DRESSES)
def test_every_dress_holds_the_same_bytes(dress: str) -> None:
    assert from_base64(DRESSES[dress]) == BYTES


@given(st.binary(max_size=40), st.integers(1, 9), st.booleans(), st.integers(1, 7))
def test_pieces_and_padding_do_not_matter(data: bytes, piece: int, padded: bool, line: int) -> None:
    text = base64.b64encode(data).decode()
    text = text if padded else text.rstrip("=")
    lines = "\n".join(text[i : i + line] for i in range(0, len(text), line))
    percent = "data:;base64," + text.replace("+", "%2b").replace("/", "%2F").replace("=", "%3D")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64_text, "BASE64_PIECE", piece)
        assert from_base64(text) == from_base64(lines) == from_base64(percent) == data


SPOILED = [
    *["QUJDR", "QU JD", "QUJD QUJD", "QUJD=", "QUI==", "QU=I", "Q===", "====", "=", "QUI=QUI=", "QUI ="],
    *["ÄÖÜß", "%%%", "QUJD\x00", "QUJD\ud800", "QUJD,", "data:QUJD", "data:;base64,QU%4", "data:;base64,QUJ%25"],
]


@pytest.mark.parametrize("text", SPOILED)
@pytest.mark.parametrize("piece", [1, 2, 3, 4, 5, 2**20])
def test_what_is_spoiled_is_refused(text: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base64_text, "BASE64_PIECE", piece)
    with pytest.raises(MalformedRequest, match="not valid base64"):
        from_base64(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://127.0.0.1:1/x.jpg", "URLs are not fetched"),
        (" HTTPS://example.org/cat.png", "URLs are not fetched"),
        ("s3://bucket/cat.jpg", "URLs are not fetched"),
        ("file:///etc/passwd", "URLs are not fetched"),
        ("data:image/png,%89PNG", "must be base64"),
        ("data:image/svg+xml;utf8,<svg/>", "must be base64"),
        ("QUJD QUJD", "spaces where a `+` may have stood"),
    ],
)
def test_a_refusal_says_what_to_send_instead(text: str, words: str) -> None:
    with pytest.raises(MalformedRequest, match=re.escape(words)):
        from_base64(text)
