"""The size of an image above its base: unpacked, and compressed as a registry holds it."""

from __future__ import annotations

import json
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.container.engine import Engine


@dataclass(frozen=True)
class ImageSize:
    """Megabytes of 10⁶ bytes; compression is gzip's."""

    unpacked_above_base: float
    compressed_above_base: float
    compressed: float


def image_size(engine: Engine, image: str, base: str) -> ImageSize:
    (description,) = json.loads(engine.read("image", "inspect", base))
    base_layers = len(description["RootFS"]["Layers"])
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        options = ["--format=docker-archive"] if engine.name == "podman" else []
        engine.read("save", *options, "--output", str(archive), image, timeout=600)
        layers = _layers(archive)
    above_base = layers[base_layers:]
    return ImageSize(
        sum(unpacked for unpacked, _ in above_base) / 1e6,
        sum(compressed for _, compressed in above_base) / 1e6,
        sum(compressed for _, compressed in layers) / 1e6,
    )


def _layers(archive: Path) -> list[tuple[int, int]]:
    """Return (unpacked, compressed) bytes of each layer of a `save` archive, those of the base first."""
    with tarfile.open(archive) as tar:
        (description,) = json.load(_member(tar, "manifest.json"))
        return [_compressed(_member(tar, name)) for name in description["Layers"]]


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    assert stream is not None
    return stream


def _compressed(stream: IO[bytes]) -> tuple[int, int]:
    compressor, unpacked, compressed = zlib.compressobj(6), 0, 0
    while block := stream.read(1 << 20):
        unpacked += len(block)
        compressed += len(compressor.compress(block))
    return unpacked, compressed + len(compressor.flush())
