"""Two hundred and more broken, strange and hostile files: each gets its 4xx as a problem, or an answer."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from live_server import LiveServer, best_label, picture
from PIL import Image
from test_predict import check_problem

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def valid_files() -> dict[str, bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (12, 12, 3), np.uint8)
    image = Image.fromarray(pixels).resize((48, 40), Image.Resampling.BICUBIC)
    files = {}
    for kind in KINDS:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files[kind] = buffer.getvalue()
    return files


def corrupted(data: bytes, generator: np.random.Generator) -> bytes:
    """Some bytes replaced, or a piece cut out, doubled or moved."""
    content = bytearray(data)
    for _ in range(int(generator.integers(1, 12))):
        content[generator.integers(len(content))] = int(generator.integers(256))
    cut, end = sorted(generator.integers(1, len(content), 2).tolist())
    damage = int(generator.integers(4))
    if damage == 1:
        del content[cut:end]
    elif damage == 2:
        content[cut:cut] = content[cut:end]
    return bytes(content)


def damaged_files() -> Iterator[tuple[str, bytes]]:
    generator = np.random.default_rng(7)
    for kind, data in valid_files().items():
        for number in range(20):
            yield f"{kind} corrupted {number}", corrupted(data, generator)
        for number in range(8):
            yield f"{kind} truncated {number}", data[: 1 + number * len(data) // 8]
        yield f"{kind} with a tail", data + b"\x00" * 1000


def test_damaged_files_never_break_the_service(client: httpx.Client) -> None:
    files = list(damaged_files())
    assert len(files) >= 200
    statuses: dict[int, int] = {}
    for name, data in files:
        answer = client.post("/predict", content=data)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 413, 415, 422), (name, answer.status_code, answer.text)
        if answer.status_code != 200:
            check_problem(answer)
    assert statuses[422] > 50
    assert best_label(client.post("/predict", content=picture("red"))) == "red"


def png(width: int, height: int, *, bits: int = 8, colour: int = 2, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG that says it is width × height, whatever it holds."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def one_pixel_too_many(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1001, 1000)).save(buffer, kind)
    return buffer.getvalue()


def jpeg_that_claims(width: int, height: int) -> bytes:
    data = bytearray(valid_files()["JPEG"])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


HOSTILE: dict[str, tuple[set[int], bytes]] = {
    **{f"{kind} with one pixel too many": ({413}, one_pixel_too_many(kind)) for kind in KINDS},
    "a PNG of 144 megapixels in its header": ({413}, png(12_000, 12_000)),
    "a PNG of 2^31 × 2^31": ({413}, png(2**31 - 1, 2**31 - 1)),
    "a PNG without pixels": ({422}, png(0, 0)),
    "a PNG with no data": ({422}, png(900, 900)),
    "a PNG with far more data than pixels": ({200, 422}, png(2, 2, data=bytes(5_000_000))),
    "a PNG of three bits": ({422}, png(8, 8, bits=3, data=bytes(1000))),
    "a JPEG that claims 65535 × 65535": ({413}, jpeg_that_claims(65535, 65535)),
    "a JPEG that claims more than it has": ({200, 422}, jpeg_that_claims(900, 900)),
    "a GIF of 65535 × 65535": ({413, 422}, b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b"," + b"\x00" * 20),
    "a BMP of 2^31 pixels a side": (
        {413, 422},
        b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    ),
    "a TIFF that points into itself": ({422}, b"II*\x00\x08\x00\x00\x00" + b"\xff" * 100),
    "a WEBP with no chunk": ({422}, b"RIFF\x04\x00\x00\x00WEBP"),
    "an AVIF with no box": ({422}, b"\x00\x00\x00\x1cftypavif" + bytes(20)),
    "a JPEG signature alone": ({422}, b"\xff\xd8\xff"),
    "a PDF": ({415}, b"%PDF-1.7\n%\xe2\xe3"),
    "a zip": ({415}, b"PK\x03\x04" + bytes(100)),
    "an ELF": ({415}, b"\x7fELF" + bytes(100)),
    "an SVG": ({415}, b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "an EPS, which Pillow would hand to Ghostscript": ({415}, b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    "a million zeros": ({415}, bytes(1_000_000)),
    "one byte": ({415}, b"\xff"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_get_the_right_refusal(client: httpx.Client, case: str) -> None:
    statuses, data = HOSTILE[case]
    for send in ({"content": data}, {"files": {"images": data}}):
        answer = client.post("/predict", **send)  # type: ignore[arg-type]
        assert answer.status_code in statuses, answer.text
        if answer.status_code != 200:
            check_problem(answer)


def test_one_bad_image_among_several_is_the_requests_error(client: httpx.Client) -> None:
    answer = client.post("/predict", files=[("images", picture("red")), ("images", b"nonsense")])
    assert answer.status_code == 415


def test_no_failure_was_ours(tiny_server: LiveServer) -> None:
    assert tiny_server.state.ledger.requests["failed"] == 0
