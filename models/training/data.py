"""Labelled images, read into memory from a folder, an archive of one, or the CIFAR-10 Python archive.

A data set has a `train` and a `test` split, each with one folder per class: `train/<label>/<file>` and
`test/<label>/<file>`. They stand in a directory, a tar of any compression, or a zip. The official
`cifar-10-python.tar.gz` (Krizhevsky 2009) is recognised by its batch files, packed or unpacked.
"""

from __future__ import annotations

import io
import lzma
import os
import pickle
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"}
SPLITS = ("train", "test")
SHOWN = 5
CIFAR_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR_TEST, CIFAR_LABELS = "test_batch", "batches.meta"
CIFAR_BATCHES = {*CIFAR_TRAIN, CIFAR_TEST, CIFAR_LABELS}


class DataError(ValueError):
    """Raised where a data set cannot be used; the message names the file or class at fault."""


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Let a DataError that is raised in the block name the data set."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Split:
    """Images uint8 [n, h, w, 3], their class numbers int64 [n], and the names of their files."""

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel, by which a network's images are normalised."""
        return channel_statistics(self.images)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, of pixels divided by 255, to four digits."""
    histogram = [np.bincount(images[..., channel].ravel(), minlength=256) for channel in range(3)]
    values = np.arange(256) / 255
    means = [float((counts * values).sum() / counts.sum()) for counts in histogram]
    spreads = [
        float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))
        for counts, mean in zip(histogram, means, strict=True)
    ]
    return tuple(round(mean, 4) for mean in means), tuple(max(round(spread, 4), 1e-4) for spread in spreads)


def hold_out(data: DataSet, images: int) -> tuple[DataSet, Split]:
    """Take the last `images` training images of a shuffle that is the same for all runs out of the training images.

    Raises:
        DataError: no training image would be left, or `images` is below 1.
    """
    count = len(data.train)
    if not 0 < images < count:
        raise DataError(f"{images} images cannot be held out of {count}")
    order = np.random.default_rng(0).permutation(count)
    kept, held = (_chosen(data.train, np.sort(rows)) for rows in (order[: count - images], order[count - images :]))
    return replace(data, train=kept), held


def _chosen(split: Split, rows: NDArray[np.int64]) -> Split:
    return Split(split.images[rows], split.classes[rows], tuple(split.names[row] for row in rows))


@dataclass(frozen=True)
class DataSet:
    """Two splits, and the labels in the order in which both number their classes."""

    labels: tuple[str, ...]
    train: Split
    test: Split


def load(path: Path) -> DataSet:
    """Read a data set.

    Raises:
        DataError: `path` does not exist or is no data set, an archive is damaged, an image cannot be decoded or
            has another size than the others, a class is empty, there are fewer than two classes, or the splits
            have different classes.
    """
    if path.is_dir():
        _require_listable(path)
        entries = _directory_entries(path)
    elif not path.exists():
        raise DataError(f"{path}: no such file or directory")
    elif zipfile.is_zipfile(path):
        entries = _zip_entries(path)
    elif tarfile.is_tarfile(path):
        entries = _tar_entries(path)
    else:
        raise DataError(f"{path}: neither a folder of images, a tar, nor a zip")
    try:
        with faults_of(path):
            return _from_entries(entries)
    except (OSError, EOFError, RuntimeError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read to its end ({error})") from error


Entry = tuple[PurePosixPath, Callable[[], bytes] | None]
"""A file's path within the data set and the function that reads it; for a folder, its path and None."""


def _require_listable(folder: Path) -> None:
    """Raise DataError for a folder that this user may not list, which `rglob` takes for an empty one."""
    try:
        os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder}: it cannot be read ({error.strerror})") from error


def _directory_entries(path: Path) -> Iterator[Entry]:
    for file in sorted(path.rglob("*")):
        yield PurePosixPath(file.relative_to(path).as_posix()), None if file.is_dir() else file.read_bytes


def _zip_entries(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            yield PurePosixPath(name), None if name.endswith("/") else partial(archive.read, name)


def _tar_entries(path: Path) -> Iterator[Entry]:
    """List the entries in the archive's order, because a compressed tar can be read only from start to end."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield PurePosixPath(member.name), archive.extractfile(member).read  # type: ignore[union-attr]
            elif member.isdir():
                yield PurePosixPath(member.name), None


def _from_entries(entries: Iterable[Entry]) -> DataSet:
    images: dict[str, dict[str, list[tuple[str, NDArray[np.uint8]]]]] = {split: defaultdict(list) for split in SPLITS}
    folders: dict[tuple[str, str], PurePosixPath] = {}
    batches: dict[str, bytes] = {}
    tops: dict[str, None] = {}
    for path, read in entries:
        if any(part == "__MACOSX" or part.startswith(".") for part in path.parts):
            continue  # what file managers leave behind
        tops.update(dict.fromkeys(path.parts[:1]))
        if read is not None and path.name in CIFAR_BATCHES:
            batches[path.name] = read()
        folder = path if read is None else path.parent
        split, label = ("", "", *folder.parts)[-2:]
        if split not in SPLITS:
            continue
        folders.setdefault((split, label), folder)
        if read is not None and path.suffix.lower() in IMAGE_SUFFIXES:
            images[split][label].append((str(path), _decode(str(path), read())))
    if batches:
        return _from_batches(batches)
    for (split, label), folder in folders.items():
        if label not in images[split]:
            raise DataError(f"{folder}: the class is empty")
    labels = sorted(images["train"])
    if len(labels) < 2:
        raise DataError(
            "train/<label>/<image> and test/<label>/<image> are expected, with two labels or more; "
            + (f"train holds only {labels[0]}" if labels else f"found {_listed(tops) or 'nothing'}")
        )
    if sorted(images["test"]) != labels:
        differing = sorted(set(labels) ^ set(images["test"]))
        raise DataError(f"train and test do not hold the same labels: only one of them has {_listed(differing)}")
    return DataSet(tuple(labels), *(_split(images[split], labels) for split in SPLITS))


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:SHOWN]) + (", …" if len(shown) > SHOWN else "")


def _decode(name: str, content: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:  # whose own message names a buffer's address
        raise DataError(f"{name}: not a readable image (of no known format)") from error
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
    """Sort the images by name: training must not depend on the order in which an archive lists its files."""
    return sorted(entries, key=lambda entry: entry[0])


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles the arrays of CIFAR batches; a pickle that asks for anything else, which could run code, is refused."""

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
        try:
            content: dict[bytes, Any] = _ArrayUnpickler(io.BytesIO(batches[name]), encoding="bytes").load()
        except DataError:
            raise
        except Exception as error:  # a damaged pickle can fail in any way
            raise DataError(f"{name}: not a readable batch of CIFAR-10 ({error})") from error
        return content

    def split(names: tuple[str, ...]) -> Split:
        parts = [read(name) for name in names]
        pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
        return Split(
            np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)),
            np.concatenate([np.asarray(part[b"labels"], dtype=np.int64) for part in parts]),
            tuple(file.decode() for part in parts for file in part[b"filenames"]),
        )

    labels = tuple(label.decode() for label in read(CIFAR_LABELS)[b"label_names"])
    return DataSet(labels, split(CIFAR_TRAIN), split((CIFAR_TEST,)))
