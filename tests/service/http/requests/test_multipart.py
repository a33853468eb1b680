"""Multipart bodies as browsers and clients write them, split into their parts."""

from __future__ import annotations

import base64
import email.policy
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedRequest, TooLarge
from service.http.requests.multipart import Part, parts_of

CONTENT = b"\xff\xd8\xff\r\n--b \r\n\n--\r\nc"
HEAD = b'Content-Disposition: form-data; name="f"; filename="a.jpg"'


def parts(body: bytes, boundary: str = "x", most: int = 8) -> list[Part]:
    return list(parts_of(body, boundary.encode("latin-1"), most))


def one(head: bytes = HEAD, content: bytes = CONTENT, boundary: bytes = b"x") -> bytes:
    return b"--%s\r\n%s\r\n\r\n%s\r\n--%s--\r\n" % (boundary, head, content, boundary)


GOOD = one()

WRITTEN = {
    "as it should be": GOOD,
    "with a preamble": b"This is a message in MIME format.\r\n" + GOOD,
    "with a preamble of line ends": b"\r\n\r\n" + GOOD,
    "with an epilogue": GOOD + b"That was it.\r\n--x\r\nnot a part",
    "without a line end behind the last boundary": GOOD[:-2],
    "with names in capitals": one(HEAD.replace(b"Content-Disposition", b"CONTENT-DISPOSITION")),
    "without blanks": one(b"Content-Disposition:form-data;name=f;filename=a.jpg"),
    "with a long line in two": one(HEAD.replace(b"; file", b";\r\n file")),
    "with other header fields": one(b"X-A: b\r\nContent-Length: %d\r\n" % len(CONTENT) + HEAD + b"\r\nX: "),
    "with the extended name of RFC 5987": one(HEAD + b"; filename*=UTF-8''%e2%82%ac.jpg"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_one_file_however_it_is_written(how: str) -> None:
    assert parts(WRITTEN[how]) == [Part("f", "a.jpg", "", "", CONTENT)]


def test_a_part_without_content_and_one_without_a_head() -> None:
    assert parts(b"--x\r\nContent-Type: text/plain\r\n\r\n\r\n--x\r\n\r\nabc\r\n--x--") == [
        Part("", None, "text/plain", "", b""),
        Part("", None, "", "", b"abc"),
    ]


def test_a_form_without_parts() -> None:
    assert parts(b"--x--\r\n") == []


@pytest.mark.parametrize("boundary", ["x", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "'()+_,-./:=?", "a b", "=_?", "é"])
def test_boundaries_of_any_characters(boundary: str) -> None:
    assert parts(one(boundary=boundary.encode("latin-1")), boundary)[0].content == CONTENT


@pytest.mark.parametrize(
    ("disposition", "name", "file_name"),
    [
        (b'form-data; name="images"', "images", None),
        (b"form-data; name=images; filename=x.png", "images", "x.png"),
        (b'form-data; name="f"; filename=""', "f", ""),
        ('form-data; name="файл"; filename="фото 1.jpg"'.encode(), "файл", "фото 1.jpg"),
        (b'form-data; name="a\\"b"; filename="c;d.jpg"', 'a"b', "c;d.jpg"),
        (b'form-data; name="f"; filename="C:\\\\x.jpg"', "f", "x.jpg"),
        (b'form-data; name="a%22b"; filename="a%0D%0A.jpg"', 'a"b', "a\r\n.jpg"),
        ('form-data; name="naïve"; filename="naïve.jpg"'.encode("latin-1"), "na\ufffdve", "na\ufffdve.jpg"),
        (b"form-data; name=f; filename*=utf-8''%e2%82%ac.jpg", "f", "€.jpg"),
        (b"form-data; name=f", "f", None),
        (b'attachment; filename="x.jpg"', "", "x.jpg"),
    ],
)
def test_names_quoted_or_not(disposition: bytes, name: str, file_name: str | None) -> None:
    (part,) = parts(one(b"Content-Disposition: " + disposition))
    assert (part.name, part.file_name) == (name, file_name)


def test_transfer_encodings_are_taken_off() -> None:
    coded = {
        b"base64": base64.encodebytes(CONTENT),
        b"BASE64": base64.b64encode(CONTENT),
        b"binary": CONTENT,
        b"8bit": CONTENT,
    }
    for encoding, content in coded.items():
        assert parts(one(HEAD + b"\r\nContent-Transfer-Encoding: " + encoding, content))[0].content == CONTENT
    quoted = one(HEAD + b"\r\nContent-Transfer-Encoding: quoted-printable", b"na=C3=AFve=\r\n!")
    assert parts(quoted)[0].content == "naïve!".encode()


def test_quoted_printable_is_for_texts() -> None:
    with pytest.raises(TooLarge, match="as they are"):
        parts(one(HEAD + b"\r\nContent-Transfer-Encoding: quoted-printable", bytes(2**20 + 1)))


def test_a_message_of_pythons_own_library_is_read() -> None:
    message = MIMEMultipart("form-data")
    for number in range(2):
        part = MIMEApplication(bytes([number]) * 99, "octet-stream")
        part.add_header("Content-Disposition", "form-data", name=f"images[{number}]", filename="a.jpg")
        message.attach(part)
    written = message.as_bytes(policy=email.policy.HTTP)
    boundary = message.get_boundary()
    assert boundary
    assert [part.content for part in parts(written, boundary)] == [bytes(99), b"\x01" * 99]


@given(
    st.lists(st.binary(max_size=30).filter(lambda content: b"--x" not in content), max_size=4), st.binary(max_size=9)
)
def test_contents_come_back_whole_and_in_order(contents: list[bytes], preamble: bytes) -> None:
    body = b"".join(b"--x\r\n" + HEAD + b"\r\n\r\n" + content + b"\r\n" for content in contents) + b"--x--"
    assert [part.content for part in parts(preamble.replace(b"-", b"") + b"\r\n" + body)] == contents


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"nothing", "the boundary is another"),
        (b"--y\r\n\r\n\r\n--y--", "the boundary is another"),
        (b"x--x\r\n--x--", "in front of first boundary"),
        (GOOD[:-5], "cut short"),
        (GOOD[: len(GOOD) // 2], "cut short"),
        (b"--x\r\n" + HEAD + b"\r\n--x--", "cut short"),
        (GOOD.replace(b"\r\n", b"\n"), "line break"),
        (one(b"no colon"), "Malformed segment header"),
        (one(b"Content-Length: 3\r\n" + HEAD), "Content-Length"),
        (one(HEAD + b"\r\nContent-Type: multipart/mixed; boundary=y"), "inside another"),
        (one(HEAD + b"\r\nContent-Transfer-Encoding: uuencode"), "uuencode"),
        (one(content=b"\r\n--xy" * 2000), "after boundary"),
    ],
)
def test_what_cannot_be_read_is_said(body: bytes, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        parts(body)


@pytest.mark.parametrize(
    ("body", "words"), [(one(b"X: " + b"a" * 9000), "header length"), (one(HEAD + b"\r\nX: y" * 9), "header count")]
)
def test_a_head_of_a_part_has_limits(body: bytes, words: str) -> None:
    with pytest.raises(TooLarge, match=words):
        parts(body)


def test_a_boundary_that_is_empty_is_none() -> None:
    with pytest.raises(MalformedRequest, match="boundary"):
        parts(GOOD, "")


def test_more_parts_than_are_allowed() -> None:
    body = (b"--x\r\n" + HEAD + b"\r\n\r\n\r\n") * 3 + b"--x--"
    assert len(parts(body, most=3)) == 3
    with pytest.raises(TooLarge, match="segment count"):
        parts(body, most=2)
