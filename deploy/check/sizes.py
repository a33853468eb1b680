"""How large an image is above its base, unpacked and compressed."""

from __future__ import annotations

import json
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO

from deploy.check.engine import Engine
from deploy.check.trial import Trial

MEGABYTE = 1_000_000


def trial_size(engine: Engine, image: str, base: str) -> list[Trial]:
    """The layers above `base`, as they unpack and as a registry would hold them (gzip)."""
    unpacked, compressed, whole = (size / MEGABYTE for size in layers_above(engine, image, base))
    return [
        Trial("size above the base, unpacked", f"{unpacked:.0f} MB", "≤ 200 MB", unpacked <= 200),
        Trial(
            "size compressed (gzip)",
            f"{whole:.0f} MB, of which {compressed:.0f} MB above the base",
            "≤ 250 MB",
            whole <= 250,
        ),
    ]


def layers_above(engine: Engine, image: str, base: str) -> tuple[int, int, int]:
    """Bytes of the layers above `base` unpacked and compressed, and of all layers compressed."""
    base_layers = len(engine.inspect(base)["RootFS"]["Layers"])
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        options = ["--format=docker-archive"] if engine.name == "podman" else []
        engine.read("save", *options, "--output", str(archive), image, timeout=600)
        sizes = _layer_sizes(archive)
    above = sizes[base_layers:]
    unpacked, compressed = (sum(column) for column in zip(*above, strict=True))
    return unpacked, compressed, sum(size for _, size in sizes)


def _layer_sizes(archive: Path) -> list[tuple[int, int]]:
    """(unpacked, compressed) bytes of each layer of a `save` archive, the base's first."""
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        sizes = []
        for name in json.load(manifest)[0]["Layers"]:
            layer = tar.extractfile(name)
            assert layer is not None
            sizes.append(_compressed(layer))
    return sizes


def _compressed(stream: IO[bytes]) -> tuple[int, int]:
    compressor, unpacked, compressed = zlib.compressobj(6), 0, 0
    while block := stream.read(1 << 20):
        unpacked += len(block)
        compressed += len(compressor.compress(block))
    return unpacked, compressed + len(compressor.flush())
