"""The gradients of two versions on the same live images, the last ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from service.contract.arrays import Float64
from service.contract.bundle_schema import Bundle
from service.diagnostics.compare import differences
from service.diagnostics.gradients import Measured, judged_norms
from service.diagnostics.schemas.shadow import ComparedLayers
from service.monitoring.shadow.pair import Pair

WINDOW: Final = 256
"""Images that the layers are compared on."""


class LayerOnImages(NamedTuple):
    """One layer on the last images, as `differences` compares it."""

    name: str
    depth: int
    shape: Sequence[int]
    relative_gradient_norm: Sequence[float]


class ModelOnImages(NamedTuple):
    """The layers of one version on the last images."""

    model: str
    version: str
    layers: Sequence[LayerOnImages]


class Layers:
    """The relative gradient norms of a pair, image by image."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._rows: tuple[Float64, Float64] = (
            np.empty((WINDOW, len(pair.model.layers))),
            np.empty((WINDOW, len(pair.shadow.layers))),
        )
        self.measured = 0

    def add(self, model: Measured, shadow: Measured) -> None:
        """Add one image, measured through both."""
        for rows, measured in zip(self._rows, (model, shadow), strict=True):
            rows[self.measured % WINDOW] = judged_norms(measured).judged[0]
        self.measured += 1

    def found(self) -> ComparedLayers | None:
        """Return how the layers differ; None before the first image."""
        images = min(self.measured, WINDOW)
        if not images:
            return None
        model, shadow = (
            _on_images(bundle, rows[:images])
            for bundle, rows in zip((self._pair.model, self._pair.shadow), self._rows, strict=True)
        )
        found = differences([model, shadow])
        return ComparedLayers(images=images, moved=[one.layer for one in found if one.moved], differences=found)


def _on_images(bundle: Bundle, rows: Float64) -> ModelOnImages:
    """Return a version with its relative norms, [N, L]."""
    layers = [
        LayerOnImages(layer.name, layer.depth, layer.shape, column)
        for layer, column in zip(bundle.layers, rows.T.tolist(), strict=True)
    ]
    return ModelOnImages(bundle.name, bundle.version, layers)
