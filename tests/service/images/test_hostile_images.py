"""About three hundred damaged or odd files: each gets an answer, or a 4xx as a problem document.

Those made with intent are in `test_attacks`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import numpy as np
from PIL import Image

from tests.attacks.pictures import KINDS, png_chunk, saved
from tests.service.live_server import LiveServer, best_label, picture
from tests.service.responses import check_problem


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
    """Replace some bytes, or cut out, double or move a piece."""
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
        for number in range(1, 5):
            yield f"{kind} without its last {number} bytes", data[:-number]
        for size in ((1, 5000), (5000, 1), (3, 16_000)):
            yield f"{kind} of {size}", saved(Image.new("RGB", size, "red"), kind)
    for number in range(60):
        yield f"PNG with damaged chunks {number}", with_damaged_chunks(valid_files()["PNG"], generator)


def with_damaged_chunks(data: bytes, generator: np.random.Generator) -> bytes:
    """Ancillary chunks of random names and contents among a PNG's own, half of them with a wrong checksum."""
    names = (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"iCCP", b"eXIf", b"tRNS", b"acTL", b"fcTL", b"cICP", b"sBIT", b"teSt")
    extra = b""
    for name in generator.choice(names, 6):
        chunk = bytearray(png_chunk(bytes(name), generator.bytes(int(generator.integers(40)))))
        chunk[-1] ^= int(generator.integers(2))
        extra += bytes(chunk)
    at = int(generator.choice([33, len(data) - 12]))
    return data[:at] + extra + data[at:]


def test_damaged_files_never_break_the_service(client: httpx.Client) -> None:
    files = list(damaged_files())
    assert len(files) >= 300
    statuses: dict[int, int] = {}
    for name, data in files:
        answer = client.post("/predict", content=data)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 413, 415, 422), (name, answer.status_code, answer.text)
        if answer.status_code != 200:
            check_problem(answer)
        if " of (" in name:
            assert best_label(answer) == "red", name
    assert statuses[422] > 50
    assert best_label(client.post("/predict", content=picture("red"))) == "red"


def test_one_bad_image_among_several_is_the_requests_error(client: httpx.Client) -> None:
    answer = client.post("/predict", files=[("images", picture("red")), ("images", b"nonsense")])
    assert answer.status_code == 415


def test_no_failure_was_ours(tiny_server: LiveServer) -> None:
    assert tiny_server.state.ledger.requests["failed"] == 0
