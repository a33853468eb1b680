"""A bundle run without a server: what `python -m service check` and `diagnose` stand on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.bundles.disk import BundleRefused, StoredBundle, read_bundle
from service.contract.bundle_schema import GraphName
from service.contract.norms import measure
from service.contract.runtime import Runtime, Session
from service.images.errors import ImageError
from service.images.preprocess import decode, normalise

Array = NDArray[Any]

CHUNK: Final = 32
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})


class OfflineModel:
    """One bundle and its sessions, opened on first use."""

    def __init__(self, directory: Path, runtime: Runtime) -> None:
        """Raises `BundleRefused`, also for a bundle without the graph that every diagnosis needs."""
        self.stored: StoredBundle = read_bundle(directory)
        self.bundle = self.stored.bundle
        if "weight_norms" not in self.bundle.graphs:
            raise BundleRefused("it has no graph weight_norms, and nothing can be diagnosed; its notes say why")
        self._runtime = runtime
        self._sessions: dict[GraphName, Session] = {}

    async def run(self, graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
        """Every output of `graph` for pixels uint8 [n, h, w, c], in chunks; the same numbers as the engine's."""
        chunk = len(images) if graph == "batch_norms" else CHUNK
        parts = [
            self._run_chunk(graph, images[start : start + chunk], None if labels is None else labels[start:][:chunk])
            for start in range(0, len(images), chunk)
        ]
        return parts[0] if len(parts) == 1 else {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

    def _run_chunk(self, graph: GraphName, images: Array, labels: NDArray[np.int64] | None) -> dict[str, Array]:
        session = self._session(graph)
        feeds: dict[str, Array] = {"input": normalise(images, self.bundle.input)}
        if "cotangent_scale" not in session.inputs:
            return session.run(feeds)
        feeds["label"] = np.full(len(images), -1, np.int64) if labels is None else labels
        return measure(lambda scale: session.run({**feeds, "cotangent_scale": scale}), len(images))

    def _session(self, graph: GraphName) -> Session:
        if graph not in self._sessions:
            self._sessions[graph] = self._runtime.open(self.stored.directory / self.bundle.graphs[graph].file)
        return self._sessions[graph]


@dataclass(frozen=True)
class LabelledFile:
    """An image file, and the label its folder gives it where that is one of the model's."""

    path: str
    label: str | None


def labelled_files(folder: Path, labels: tuple[str, ...]) -> list[LabelledFile]:
    """Every image under `folder`, by path; the label is the name of the folder it lies in."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return [LabelledFile(path.as_posix(), path.parent.name if path.parent.name in labels else None) for path in files]


def class_indices(files: list[LabelledFile], labels: tuple[str, ...]) -> NDArray[np.int64]:
    """int64 [n], −1 where a file has no label."""
    return np.array([-1 if file.label is None else labels.index(file.label) for file in files], np.int64)


def decoded(folder: Path, files: list[LabelledFile], model: OfflineModel) -> Iterator[Array | ImageError]:
    """Pixels uint8 [h, w, c] of each file, or why there are none."""
    for file in files:
        try:
            yield decode((folder / file.path).read_bytes(), model.bundle.input)
        except ImageError as error:
            yield error
