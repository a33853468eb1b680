"""Inputs for sessions, and what their outputs are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from service.contract.arrays import Array
from service.contract.runtime.session import Session, zeros_for

BUNDLES = Path(__file__).parents[4] / "models/bundles"
TWENTY_LAYERS = BUNDLES / "resnet20"


def drawn(session: Session, batch: int) -> dict[str, Array]:
    """Return inputs for a batch: random images, the predicted class, scale 1."""
    feeds = zeros_for(session, batch)
    images = np.random.default_rng(batch).normal(size=feeds["input"].shape)
    return {**feeds, "input": images.astype(np.float32)}


def assert_equal(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)
