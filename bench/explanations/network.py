"""One shipped network and the photographs that it is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.contract.loss import probabilities
from service.contract.runtime.opening import Runtime
from service.images.preprocess import decode, normalise
from service.offline.model import OfflineModel, finished, labelled_files

Floats = NDArray[np.floating]


class Network:
    """A bundle whose graphs run on what the network reads: float32 [n, channels, height, width]."""

    def __init__(self, directory: Path) -> None:
        """Open the bundle in `directory`.

        Raises:
            BundleRefused: it cannot be read, or has no graph `explanation`.
        """
        self.model = OfflineModel(directory, Runtime("cpu"), needed="explanation")
        self.bundle = self.model.bundle
        self.name = self.bundle.name

    def probabilities(self, images: Floats) -> Floats:
        """Return the probability of every class, [n, K]."""
        found = finished(self.model.run("forward", images.astype(np.float32, copy=False)))
        return probabilities(found["logits"])

    def photographs(self, folder: Path, count: int) -> tuple[Floats, NDArray[np.int64]]:
        """Read `count` pictures spread over the labels of `folder`; return them as the network reads them, with labels.

        The label of each is the class that the network predicts: this is what is explained.
        """
        files = labelled_files(folder, self.bundle.labels)
        chosen = [files[row] for row in np.arange(min(count, len(files))) * len(files) // min(count, len(files))]
        pixels = np.stack([decode((folder / file.path).read_bytes(), self.bundle.input) for file in chosen])
        images = normalise(pixels, self.bundle.input)
        return images, self.probabilities(images).argmax(axis=1)
