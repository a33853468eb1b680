"""Separability of the classes by layer: how many images lie nearest to the mean of their own class.

Half of the images give the class means, the other half is classified by them. The features of a layer are its
maps, averaged over a 2 × 2 grid and standardised; the classifier has no maps, and its outputs are used as they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from export.graph.names import MAP
from export.running.runs import in_onnxruntime
from service.contract.bundle_schema import Layer, Separability

GRID: Final = 2
BATCH_SIZE: Final = 32
LEAST_PER_CLASS: Final = 4
"""Images that a class needs for its mean to say anything."""


def separability(
    maps_graph: onnx.ModelProto, layers: tuple[Layer, ...], images: np.ndarray, classes: NDArray[np.int64]
) -> Separability | None:
    """Measure the layers of the `feature_maps` graph; None where a class has fewer than `LEAST_PER_CLASS` images.

    Args:
        images: float32 [n, c, h, w]; every second image of each class gives the means.
        classes: int64 [n].
    """
    if np.bincount(classes).min() < LEAST_PER_CLASS:
        return None
    order = np.argsort(classes, kind="stable")
    images, classes = images[order], classes[order]
    fitting = np.arange(len(classes)) % 2 == 0
    features = pooled_features(maps_graph, images)
    return Separability(
        fitted=int(fitting.sum()),
        judged=int((~fitting).sum()),
        chance=1 / len(np.unique(classes)),
        nearest_mean={
            layer.name: nearest_mean(features[layer.name], classes, fitting)
            for layer in layers
            if layer.name in features
        },
    )


def pooled_features(maps_graph: onnx.ModelProto, images: np.ndarray) -> dict[str, NDArray[np.float64]]:
    """Return the features of every layer by its name: float64 [n, up to 4·channels]."""
    run = in_onnxruntime(maps_graph)
    found: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(images), BATCH_SIZE):
        for name, values in run({"input": images[start : start + BATCH_SIZE]}).items():
            if name.startswith(MAP):
                found.setdefault(name.removeprefix(MAP), []).append(pool(values) if values.ndim == 4 else values)
    return {name: np.concatenate(parts).reshape(len(images), -1).astype(np.float64) for name, parts in found.items()}


def pool(maps: np.ndarray) -> np.ndarray:
    """Average maps over their four quarters, fewer where h or w is 1: [n, c, h, w] → [n, 4·c]."""
    height, width = (min(GRID, size) for size in maps.shape[2:])
    quarters = [
        [part.mean(axis=(2, 3)) for part in np.array_split(row, width, axis=3)]
        for row in np.array_split(maps, height, axis=2)
    ]
    return np.array(quarters).transpose(2, 3, 0, 1).reshape(len(maps), -1)


def nearest_mean(features: NDArray[np.float64], classes: NDArray[np.int64], fitting: NDArray[np.bool_]) -> float:
    """Return the share of the images outside `fitting` that lie nearest to the mean of their own class."""
    standard = standardised(features, fitting)
    targets = np.eye(int(classes.max()) + 1)[classes[fitting]]
    scores = mean_scores(standard[fitting], targets, standard[~fitting])
    return float((scores.argmax(axis=1) == classes[~fitting]).mean())


def standardised(features: NDArray[np.float64], fitting: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shift and scale every feature to mean 0 and deviation 1 over the fitting images."""
    mean, deviation = features[fitting].mean(axis=0), features[fitting].std(axis=0)
    result: NDArray[np.float64] = (features - mean) / np.where(deviation > 0, deviation, 1.0)
    return result


def mean_scores(
    known: NDArray[np.float64], targets: NDArray[np.float64], unknown: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score each class by the nearness of its mean: [n, classes], largest for the nearest.

    The score is −‖x − mean‖² without the term ‖x‖², which is the same for all classes.
    """
    means = (targets.T @ known) / targets.sum(axis=0)[:, None]
    scores: NDArray[np.float64] = 2 * unknown @ means.T - (means**2).sum(axis=1)
    return scores
