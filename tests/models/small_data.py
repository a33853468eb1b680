"""Data sets small enough to train on in a test: squares of one colour per class, with noise."""

from __future__ import annotations

import io
import pickle
import pickletools
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from models.training.data import DataSet, Split

LABELS = ("blue", "green", "red")


def image(number: int, seed: int, side: int = 8) -> np.ndarray:
    """Draw noise that is brighter in the class's own channel: uint8 [side, side, 3]."""
    pixels = np.random.default_rng((number, seed)).integers(0, 100, (side, side, 3))
    pixels[..., 2 - number] += 100
    return pixels.astype(np.uint8)


def data_set(per_class: int = 8, side: int = 8) -> DataSet:
    """Return a data set in memory with the same images in both splits."""
    images = np.stack([image(number, seed, side) for number in range(3) for seed in range(per_class)])
    classes = np.repeat(np.arange(3), per_class)
    split = Split(images, classes, tuple(f"{LABELS[number]}/{at}.png" for at, number in enumerate(classes)))
    return DataSet(LABELS, split, split)


def files(per_class: int = 2) -> dict[str, bytes]:
    """Return the same data set as files: `train/<label>/<n>.png` and `test/<label>/<n>.png`."""
    found = {}
    for split in ("train", "test"):
        for number, label in enumerate(LABELS):
            for seed in range(per_class):
                buffer = io.BytesIO()
                Image.fromarray(image(number, seed)).save(buffer, "PNG")
                found[f"{split}/{label}/{seed}.png"] = buffer.getvalue()
    return found


def write_folder(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, content: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in reversed(content.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def cifar_batches(per_batch: int = 4) -> dict[str, bytes]:
    """Make the files of the official CIFAR-10 Python archive, with few images and its ten labels."""
    labels = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    found = {"batches.meta": {b"label_names": labels, b"num_cases_per_batch": per_batch, b"num_vis": 3072}}
    for at, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        generator = np.random.default_rng(at)
        found[name] = {
            b"batch_label": name.encode(),
            b"labels": [int(value) for value in generator.integers(0, 10, per_batch)],
            b"data": generator.integers(0, 256, (per_batch, 3072)).astype(np.uint8),
            b"filenames": [f"{name}_{row}.png".encode() for row in range(per_batch)],
        }
    return {f"cifar-10-batches-py/{name}": as_published(content) for name, content in found.items()}


PYTHON_2_STRINGS = {"SHORT_BINBYTES": pickle.SHORT_BINSTRING, "BINBYTES": pickle.BINSTRING}
"""Opcodes of Python 3's bytes, and those of Python 2's strings, which are laid out alike."""


def as_published(content: dict[bytes, object]) -> bytes:
    """Pickle `content` as Python 2 and numpy 1 pickled the published archive."""
    pickled = bytearray(pickle.dumps(content, protocol=3))
    for opcode, _, position in pickletools.genops(bytes(pickled)):
        assert position is not None
        if opcode.name == "PROTO":
            pickled[position + 1] = 2
        elif opcode.name in PYTHON_2_STRINGS:
            pickled[position : position + 1] = PYTHON_2_STRINGS[opcode.name]
    return bytes(pickled).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
