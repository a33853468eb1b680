"""The trained tensors of two versions of one architecture, and what lies between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from service.bundles.disk import BundleRefused, StoredBundle
from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import WEIGHTS_FILE, GraphParameter


class Line:
    """The straight line between the weights of two versions, OLD at α = 0 and NEW at α = 1."""

    def __init__(self, old: StoredBundle, new: StoredBundle) -> None:
        """Read the weights of both.

        Raises:
            BundleRefused: a file is missing, or was changed since its bundle was read.
        """
        self._graphs = old.bundle.graphs["loss_slopes"], new.bundle.graphs["loss_slopes"]
        self._weights = _content(old), _content(new)

    def at(self, alpha: float) -> dict[str, Array]:
        """Return what is put in place of the tensors of NEW's graph: the weights at α, and NEW − OLD.

        Both are computed in float64 and rounded to float32. Where a tensor is the same in both versions it stays so.
        """
        found: dict[str, Array] = {}
        for parameter, old, new in self._tensors():
            between = np.where(old == new, old, (1.0 - alpha) * old + alpha * new)
            found[parameter.name] = np.asarray(between, np.float32)
            found[parameter.difference] = np.asarray(new - old, np.float32)
        return found

    def squares(self) -> Mapping[str, tuple[float, float]]:
        """Return ‖NEW − OLD‖² and ‖OLD‖² of every part of the network by its name, "" for the rest."""
        found: dict[str, tuple[float, float]] = {}
        for parameter, old, new in self._tensors():
            moved, was = found.get(parameter.part, (0.0, 0.0))
            found[parameter.part] = moved + _square(new - old), was + _square(old)
        return found

    def _tensors(self) -> Iterator[tuple[GraphParameter, Float64, Float64]]:
        for first, second in zip(*(graph.parameters for graph in self._graphs), strict=True):
            yield second, _read(self._weights[0], first), _read(self._weights[1], second)


def _content(stored: StoredBundle) -> bytes:
    content = stored.read(WEIGHTS_FILE)
    if content is None:
        raise BundleRefused(f"it has no {WEIGHTS_FILE}")
    return content


def _square(numbers: Float64) -> float:
    return float(np.square(numbers).sum())


def _read(content: bytes, parameter: GraphParameter) -> Float64:
    count = int(np.prod(parameter.shape, dtype=np.int64))
    if parameter.offset + 4 * count > len(content):
        raise BundleRefused(f"{WEIGHTS_FILE} ends before {parameter.name}")
    return np.frombuffer(content, "<f4", count, parameter.offset).reshape(parameter.shape).astype(np.float64)
