"""Multipart, JSON and base64: many parts, deep nesting, numbers without end."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable

from PIL import Image

from tests.attacks.wire import Attack, Target, post

JSON = "Content-Type: application/json"
MULTIPART = "Content-Type: multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
END = b"--b--\r\n"


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = base64.b64encode(picture()).decode()

Body = bytes | Callable[[Target], bytes]


def as_json(body: Body, path: str = "/predict") -> Callable[[Target], Iterable[bytes]]:
    return lambda target: [post(path, body if isinstance(body, bytes) else body(target), JSON)]


def as_multipart(body: Body, header: str = MULTIPART) -> Callable[[Target], Iterable[bytes]]:
    return lambda target: [post("/predict", body if isinstance(body, bytes) else body(target), header)]


def images(*entries: object, **fields: object) -> bytes:
    return json.dumps({"images": entries, **fields}).encode()


def filled(start: bytes, unit: bytes, end: bytes = b"") -> Callable[[Target], bytes]:
    """Repeat `unit` as often as the body's limit allows, between `start` and `end`."""
    return lambda target: start + unit * ((target.body - len(start) - len(end)) // len(unit)) + end


ATTACKS = (
    Attack("JSON that is none", (400,), as_json(b"{")),
    Attack("JSON of the wrong shape", (400,), as_json(b"[1, 2]")),
    Attack("JSON in bytes that are no text", (400,), as_json(b'{"images": ["\xff\xfe"]}')),
    Attack("JSON in UTF-32", (400,), as_json(images("x").decode().encode("utf-32"))),
    Attack("brackets up to the limit", (400, 413), as_json(filled(b"", b"["))),
    Attack("objects nested a thousand deep", (400,), as_json(b'{"images": ' + b'{"a":' * 900 + b"1" + b"}" * 901)),
    Attack("nested just deeper than allowed", (400,), lambda target: [
        post("/predict", b'{"images": ["x"], "a": ' + b"[" * target.depth + b"]" * target.depth + b"}", JSON)
    ]),
    Attack("numbers up to the limit", (413, 400), as_json(filled(b'{"images": [', b"0,", b"0]}"))),
    Attack("empty strings up to the limit", (413, 400), as_json(filled(b'{"images": [', b'"",', b'""]}'))),
    Attack("names up to the limit", (413, 400), as_json(filled(b'{"a": 0', b', "b": 0', b"}"))),
    Attack("one string up to the limit", (400,), as_json(filled(b'{"images": ["', b"!", b'"]}'))),
    Attack("one string of escapes up to the limit", (400, 413), as_json(filled(b'{"images": ["', b"\\u0041", b'!"]}'))),
    Attack("a picture of zeros in base64 up to the limit", (415,), as_json(filled(b'{"images": ["', b"AAAA", b'"]}'))),
    Attack("a picture of zeros in base64 up to the limit, to be diagnosed", (415,), as_json(
        filled(b'{"images": ["', b"AAAA", b'"]}'), "/diagnostics/scores"
    )),
    Attack("a number of a million digits", (400, 413), as_json(filled(b'{"images": ["x"], "top_k": ', b"9", b"}"))),
    Attack("no images", (400,), as_json(images())),
    Attack("one image too many", (413,), lambda target: [
        post("/predict", images(*[""] * (target.images + 1)), JSON)
    ]),
    Attack("an image that is a number", (400,), as_json(images(7))),
    Attack("an image that is a list", (400,), as_json(images([PICTURE]))),
    Attack("base64 of the wrong length", (400,), as_json(images("QUJDR"))),
    Attack("base64 with too much padding", (400,), as_json(images("QUJD===="))),
    Attack("padding up to the limit", (400,), as_json(filled(b'{"images": ["', b"=", b'"]}'))),
    Attack("a line end before base64 up to the limit", (415,), as_json(filled(b'{"images": ["\\n', b"AAAA", b'"]}'))),
    Attack("line ends in base64 up to the limit", (400, 413), as_json(filled(b'{"images": ["', b"\\n", b'"]}'))),
    Attack("a line end behind every letter", (415, 413), as_json(filled(b'{"images": ["', b"AA\\nAA\\n", b'"]}'))),
    Attack("spaces up to the limit and no picture", (400,), as_json(filled(b'{"images": "A', b" ", b'A"}'))),
    Attack("a data URL of percent codes up to the limit", (415, 400), as_json(
        filled(b'{"images": ["data:;base64,', b"%2B%2f%2b%2F", b'"]}')
    )),
    Attack("a data URL of percents up to the limit", (400,), as_json(
        filled(b'{"images": ["data:;base64,', b"%", b'"]}')
    )),
    Attack("a data URL whose type never ends", (400,), as_json(filled(b'{"images": ["data:', b"a", b'"]}'))),
    Attack("an address to fetch", (400,), as_json(images("http://169.254.169.254/latest/meta-data/"))),
    Attack("a file to read", (400,), as_json(images("file:///etc/passwd"))),
    Attack("an image with a field that is not known", (422,), as_json(images({"data": PICTURE, "lable": "red"}))),
    Attack("base64 with spaces", (400,), as_json(images("QU JD"))),
    Attack("base64 that is not ASCII", (400,), as_json(images("ÄÖÜß"))),
    Attack("a data URL of nothing", (400,), as_json(images("data:image/png;base64,"))),
    Attack("half of a surrogate pair as the model", (404,), as_json(images(PICTURE, model="\ud800"))),
    Attack("half of a surrogate pair as a label", (422,), lambda target: [
        post("/diagnostics/gradients", images({"data": PICTURE, "label": "\ud800"}), JSON)
    ]),
    Attack("a list as the model", (422,), as_json(images(PICTURE, model=[["a"]]))),
    Attack("a top_k that is a truth", (422,), as_json(images(PICTURE, top_k=True))),
    Attack("a top_k that is NaN", (422,), as_json(images(PICTURE, top_k=float("nan")))),
    Attack("multipart without a boundary", (400,), as_multipart(b"--b\r\n", "Content-Type: multipart/form-data")),
    Attack("multipart with an endless boundary", (400,), lambda target: [
        post("/predict", b"--b\r\n", f"Content-Type: multipart/form-data; boundary={'b' * (target.head // 2)}")
    ]),
    Attack("multipart that is none", (400,), as_multipart(b"no parts at all")),
    Attack("multipart of zeros up to the limit", (400,), as_multipart(filled(b"", b"\x00"))),
    Attack("multipart of line ends up to the limit", (400,), as_multipart(filled(b"", b"\r\n"))),
    Attack("a part of line ends up to the limit", (415,), as_multipart(filled(PART % (b"images", b""), b"\r\n", END))),
    Attack("a part of almost boundaries up to the limit", (415,), as_multipart(
        filled(PART % (b"images", b""), b"\r\n--", b"\r\n" + END)
    )),
    Attack("a preamble up to the limit", (400,), as_multipart(filled(b"", b"\n--", b""))),
    Attack("boundaries with something behind them up to the limit", (400,), as_multipart(filled(b"", b"\n--bb", b""))),
    Attack("lines in a part that begin as its boundary up to the limit", (400,), as_multipart(
        filled(PART % (b"images", b""), b"\r\n--bb", b"\r\n" + END)
    )),
    Attack("blanks behind the boundary up to the limit", (400,), as_multipart(filled(b"--b", b" ", b"\r\n" + END))),
    Attack("multipart in multipart", (400,), as_multipart(
        b'--b\r\nContent-Disposition: form-data; name="f"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n' + END
    )),
    Attack("a part in a transfer encoding that is not known", (400,), as_multipart(
        b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: x-zip\r\n\r\nabc\r\n' + END
    )),
    Attack("a part in base64 that is none", (400,), as_multipart(
        b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n' + END
    )),
    Attack("a part in base64 up to the limit", (415,), as_multipart(filled(
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\nContent-Transfer-Encoding: base64\r\n\r\n',
        b"AAAA", b"\r\n" + END
    ))),
    Attack("escapes of quoted-printable up to the limit", (400, 413), as_multipart(filled(
        b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n',
        b"=3D", b"\r\n" + END
    ))),
    Attack("files for an option", (422,), as_multipart(
        b'--b\r\nContent-Disposition: form-data; name="top_k"; filename="a"\r\n\r\n\xff\xd8\xff\r\n'
        + PART % (b"images", picture()) + END
    )),
    Attack("empty files up to the limit", (413,), as_multipart(filled(
        b"", b'--b\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n\r\n', END
    ))),
    Attack("a head of quotes up to the limit", (413,), as_multipart(filled(
        b'--b\r\nContent-Disposition: form-data; name="', b'"', b"\r\n\r\n" + END
    ))),
    Attack("a form of one field up to the limit", (415,), lambda target: [
        post("/predict", b"image=" + b"A" * (target.body - 6), "Content-Type: application/x-www-form-urlencoded")
    ]),
    Attack("blanks before JSON of no type", (415,), as_multipart(filled(b"", b" ", b"{"), "Content-Type: text/plain")),
    Attack("a part that is cut short", (400,), as_multipart((PART % (b"images", picture()))[:-9])),
    Attack("a part without a name", (400,), as_multipart(PART % (b"", b"x") + END)),
    Attack("a part with a header that never ends", (400, 413), as_multipart(filled(b"--b\r\nX: ", b"a"))),
    Attack("a part with headers up to the limit", (400, 413), as_multipart(filled(b"--b\r\n", b"X: a\r\n"))),
    Attack("parts up to the limit", (413,), as_multipart(filled(b"", PART % (b"images", b""), END))),
    Attack("fields up to the limit", (413,), as_multipart(filled(b"", PART % (b"a", b""), END))),
    Attack("one field up to the limit", (413,), as_multipart(filled((PART % (b"a", b""))[:-2], b"a", b"\r\n" + END))),
    Attack("two labels for one image", (422,), as_multipart(
        PART % (b"images", picture()) + PART % (b"labels", b"0") + PART % (b"labels", b"1") + END
    )),
)  # fmt: skip
