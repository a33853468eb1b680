"""A bundle whose graphs run in this process, and the images of a folder: what `check` and `diagnose` have in common."""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.bundles.disk import BundleRefused, StoredBundle, read_bundle
from service.contract.arrays import Array, Pixels
from service.contract.bundle_schema import THE_IMAGE, Bundle, GraphName, InputSpec
from service.contract.label_kinds import kind_called
from service.contract.norms import measure
from service.contract.outputs import mixes_samples
from service.contract.runtime.opening import Runtime
from service.contract.runtime.session import Session
from service.engine.execution import with_predictions
from service.errors import InvalidParameter
from service.images.errors import ImageError
from service.images.preprocess import decode, normalise
from service.output.console import remark
from service.sources.opening import bundle_at, bundles_at

T = TypeVar("T")

CHUNK: Final = 32
"""Images per run, if they are small."""
PIXELS_PER_RUN: Final = 2**18
"""Pixels of all images of a run together: 5 images of 224 × 224, with which a DenseNet of 121 layers takes 2 GB."""
IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})

PATH_HELP: Final = (
    "a bundle, or what is imported first: an .onnx file or the folder of a model. The flags of `contraflow import` "
    "(--labels, --mean …) are passed on to the import"
)
"""The path that `model_at` takes, for `--help`."""


class OfflineModel:
    """One bundle and the sessions of its graphs, each opened on its first use."""

    def __init__(self, directory: Path, runtime: Runtime, needed: GraphName = "weight_norms") -> None:
        """Read the bundle; raise `BundleRefused` if that fails, or if it lacks the graph that is `needed`."""
        self.stored: StoredBundle = read_bundle(directory, is_called=False)
        self.bundle = self.stored.bundle
        if needed not in self.bundle.graphs:
            raise BundleRefused(f"it has no graph {needed}, and nothing can be diagnosed; its notes say why")
        self.kind = kind_called(self.bundle.label_kind)
        self.runtime = runtime
        self._sessions: dict[GraphName, Session] = {}

    @property
    def answered_by(self) -> dict[str, str]:
        """The fields that begin every answer; there is no request that could be named."""
        return {
            "model": self.bundle.name,
            "version": self.bundle.version,
            "bundle": self.stored.digest,
            "execution_provider": self.runtime.provider,
            "request_id": "",
        }

    async def run(
        self, graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None, *, layer: int | None = None
    ) -> dict[str, Array]:
        """Run `graph` in chunks on pixels, uint8 [n, h, w, c], or on the tensor `input`, and return all outputs.

        The engine's numbers exactly. `labels` are those that the graph takes, `layer` is where it ends if it takes one.
        """
        chunk = len(images) if mixes_samples(graph) else images_per_run(self.bundle.input)
        parts = [
            self._run_chunk(
                graph, images[start : start + chunk], None if labels is None else labels[start:][:chunk], layer
            )
            for start in range(0, len(images), chunk)
        ]
        return parts[0] if len(parts) == 1 else {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

    def _run_chunk(
        self, graph: GraphName, images: Array, labels: NDArray[np.int64] | None, layer: int | None
    ) -> dict[str, Array]:
        session = self._session(graph)
        feeds: dict[str, Any] = {"input": normalise(images, self.bundle.input) if images.dtype == np.uint8 else images}
        if "cotangent_scale" not in session.inputs:
            return with_predictions(session.run(feeds), self.kind)
        if labels is None:
            labels = np.full((len(images), *session.input_shapes["label"][1:]), -1, np.int64)
        feeds["label"] = labels
        if "layer" in session.inputs:
            feeds["layer"] = np.array([THE_IMAGE if layer is None else layer], np.int64)
        held = session.hold(feeds)
        return measure(lambda scale: session.run({**held, "cotangent_scale": scale}), len(images))

    def _session(self, graph: GraphName) -> Session:
        if graph not in self.bundle.graphs:
            raise InvalidParameter(f"The bundle of {self.bundle.name} has no graph {graph}.")
        if graph not in self._sessions:
            self._sessions[graph] = self.runtime.open(self.stored.directory / self.bundle.graphs[graph].file)
        return self._sessions[graph]


def images_per_run(spec: InputSpec) -> int:
    """Return how many images one run takes."""
    return min(CHUNK, max(1, PIXELS_PER_RUN // (spec.height * spec.width)))


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end that never waits, as none does that only runs graphs of an `OfflineModel`.

    It needs no event loop: one may run already, as in a notebook, and one of its own would put Ctrl-C off to the end.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a graph that runs in this process waited for something")


def models_at(path: Path, import_flags: Sequence[str]) -> list[Path]:
    """Return the folders of all bundles at a path, imported first if need be; what the import says goes to stderr.

    Raises:
        SourceError: there is none.
    """
    return bundles_at(path, import_flags, os.environ, remark)


def model_at(path: Path, import_flags: Sequence[str]) -> Path:
    """Return the folder of the bundle at a path, imported first if need be; what the import says goes to stderr.

    Raises:
        SourceError: there is none, or more than one.
    """
    return bundle_at(path, import_flags, os.environ, remark)


@dataclass(frozen=True)
class LabelledFile:
    """An image file, and its label: the name of its folder, if that is a label of the model."""

    path: str
    label: str | None


def labelled_files(folder: Path, labels: tuple[str, ...]) -> list[LabelledFile]:
    """Return every image under `folder`, by path.

    Raises:
        OSError: the folder cannot be listed, which `rglob` would take for an empty one.
    """
    os.listdir(folder)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return [LabelledFile(path.as_posix(), path.parent.name if path.parent.name in labels else None) for path in files]


def labels_of(files: list[LabelledFile], bundle: Bundle) -> NDArray[np.int64]:
    """Return the labels of each file as the bundle's graphs take them; −1 where nothing is known.

    The folder of a file names one label that applies. Where labels are independent it says nothing of the others.
    """
    array = kind_called(bundle.label_kind).none_given(len(files), len(bundle.labels))
    for row, file in enumerate(files):
        if file.label is not None:
            index = bundle.labels.index(file.label)
            place, value = (row, index) if bundle.label_kind == "exclusive" else ((row, index), 1)
            array[place] = value
    return array


def decoded(folder: Path, files: list[LabelledFile], model: OfflineModel) -> Iterator[Pixels | ImageError]:
    """Yield the pixels of each file, uint8 [h, w, c], or why it cannot be decoded."""
    for file in files:
        try:
            yield decode((folder / file.path).read_bytes(), model.bundle.input)
        except ImageError as error:
            yield error
