"""Requests to a service under trial, each on a connection of its own."""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Answer:
    """`status` 0 stands for a connection that was refused or broke."""

    status: int
    body: bytes
    retry_after: str | None = None

    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, method: str, path: str, body: bytes | None = None, timeout: float = 60) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.getheader("Retry-After"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error).encode())
    finally:
        connection.close()


def wait_until_ready(port: int, seconds: float = 60) -> float:
    """Seconds until /health/ready answered 200.

    Raises:
        TimeoutError: it did not in `seconds`.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
        if ask(port, "GET", "/health/ready", timeout=2).status == 200:
            return waited
        time.sleep(0.02)
    raise TimeoutError(f"not ready after {seconds:.0f} s")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert isinstance(port, int)
    return port


def jpeg(width: int, height: int, seed: int = 0) -> bytes:
    """Smooth noise: an image of any size that compresses about as a photograph does."""
    coarse = np.random.default_rng(seed).integers(
        0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8
    )
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return _encoded(image, "JPEG", quality=90)


def noise(width: int, height: int) -> bytes:
    """A JPEG of noise, which compresses badly: about a byte per pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return _encoded(Image.fromarray(pixels), "JPEG", quality=92)


def bomb(width: int, height: int) -> bytes:
    """A few bytes of lossless WebP, the format whose decoding takes the most memory per pixel."""
    return _encoded(Image.new("RGBA", (width, height), (3, 4, 5, 6)), "WEBP", lossless=True)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
