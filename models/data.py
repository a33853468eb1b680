"""Labelled images in memory, read from a folder, an archive of one, or the CIFAR-10 Python archive.

A data set has a `train` and a `test` split, each with one folder per class:
`train/<label>/<file>` and `test/<label>/<file>`, in a directory, a tar (any compression) or a zip.
The official `cifar-10-python.tar.gz` (Krizhevsky 2009) is recognised by its `data_batch_1`.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"}
SPLITS = ("train", "test")


class DataError(ValueError):
    """A data set cannot be used; the message names the file or class at fault."""


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, h, w, 3], class numbers int64 [n], and where each image came from."""

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class DataSet:
    """Two splits that share one list of labels, in sorted order."""

    labels: tuple[str, ...]
    train: Split
    test: Split


def load(path: Path) -> DataSet:
    """Read a data set.

    Raises:
        DataError: nothing is there, an image cannot be decoded or differs in size, a class is
            empty, there are fewer than two classes, or the splits disagree about the classes.
    """
    if path.is_dir() and (path / "data_batch_1").exists():
        return _from_batches({file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()})
    if path.is_dir():
        return _from_files(_directory_files(path), _empty_classes(path))
    if not path.exists():
        raise DataError(f"{path}: no such file or directory")
    if zipfile.is_zipfile(path):
        return _from_files(_zip_files(path))
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            batches = {
                PurePosixPath(member.name).name: archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive
                if member.isfile() and ("_batch" in member.name or member.name.endswith("batches.meta"))
            }
        return _from_batches(batches) if batches else _from_files(_tar_files(path))
    raise DataError(f"{path}: neither a folder of images, a tar, nor a zip")


def _directory_files(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield file.relative_to(path).as_posix(), file.read_bytes()


def _empty_classes(path: Path) -> list[str]:
    folders = (folder for split in SPLITS for folder in sorted((path / split).glob("*")) if folder.is_dir())
    return [f"{folder}: the class is empty" for folder in folders if not any(folder.iterdir())]


def _zip_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith("/"):
                yield name, archive.read(name)


def _tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member).read()  # type: ignore[union-attr]


def _from_files(files: Iterable[tuple[str, bytes]], faults: Iterable[str] = ()) -> DataSet:
    for fault in faults:
        raise DataError(fault)
    images: dict[str, dict[str, list[tuple[str, NDArray[np.uint8]]]]] = {split: defaultdict(list) for split in SPLITS}
    for name, content in files:
        parts = PurePosixPath(name).parts
        if len(parts) >= 3 and parts[-3] in SPLITS and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            images[parts[-3]][parts[-2]].append((name, _decode(name, content)))
    labels = sorted(images["train"])
    if len(labels) < 2:
        raise DataError(f"expected train/<label>/<image> with two classes or more, found {labels or 'none'}")
    if sorted(images["test"]) != labels:
        differing = sorted(set(labels) ^ set(images["test"]))
        raise DataError(f"train and test do not hold the same classes: {', '.join(differing)}")
    return DataSet(tuple(labels), *(_split(images[split], labels) for split in SPLITS))


def _decode(name: str, content: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow raises many kinds on corrupt files; all mean the same here
        raise DataError(f"{name}: not a readable image ({error})") from error


def _split(by_label: dict[str, list[tuple[str, NDArray[np.uint8]]]], labels: list[str]) -> Split:
    entries = [
        (name, image, number) for number, label in enumerate(labels) for name, image in _by_name(by_label[label])
    ]
    shape = entries[0][1].shape
    for name, image, _ in entries:
        if image.shape != shape:
            raise DataError(f"{name}: {image.shape[1]}×{image.shape[0]} pixels, the others have {shape[1]}×{shape[0]}")
    return Split(
        np.stack([image for _, image, _ in entries]),
        np.array([number for _, _, number in entries], dtype=np.int64),
        tuple(name for name, _, _ in entries),
    )


def _by_name(entries: list[tuple[str, NDArray[np.uint8]]]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Archives list files in any order; training must not depend on it."""
    return sorted(entries, key=lambda entry: entry[0])


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles the CIFAR batches and nothing that could run code."""

    _ALLOWED = frozenset({("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise DataError(f"the archive's pickle asks for {module}.{name}, which CIFAR-10 does not hold")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return getattr(np, name)


def _from_batches(batches: dict[str, bytes]) -> DataSet:
    def read(name: str) -> dict[bytes, Any]:
        if name not in batches:
            raise DataError(f"the CIFAR-10 archive lacks {name}")
        content: dict[bytes, Any] = _ArrayUnpickler(io.BytesIO(batches[name]), encoding="bytes").load()
        return content

    def split(names: list[str]) -> Split:
        parts = [read(name) for name in names]
        pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
        return Split(
            np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)),
            np.concatenate([np.asarray(part[b"labels"], dtype=np.int64) for part in parts]),
            tuple(file.decode() for part in parts for file in part[b"filenames"]),
        )

    labels = tuple(label.decode() for label in read("batches.meta")[b"label_names"])
    return DataSet(labels, split([f"data_batch_{number}" for number in range(1, 6)]), split(["test_batch"]))
