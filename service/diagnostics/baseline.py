"""Unlike itself: a request's norms against the quantiles that the bundle recorded on its training images."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.bundle_schema import Baseline, Layer
from service.diagnostics.schemas import LayerBaseline, UnlikeItself

LAYER_SHARE: Final = 0.5
"""A layer is unlike itself when more than this share of the samples is outside the recorded range."""
MODEL_SHARE: Final = 0.25
"""The model is when more than this share of its layers are."""


def layer_baselines(
    baseline: Baseline | None, layers: tuple[Layer, ...], relative: NDArray[np.float64]
) -> list[LayerBaseline | None]:
    """One per layer: the recorded range of r and the share of `relative` [N, L] outside of it; None without either."""
    if baseline is None or not len(relative):
        return [None] * len(layers)
    found: list[LayerBaseline | None] = []
    for column, layer in enumerate(layers):
        recorded = baseline.scaled_gradient_norm.get(layer.name)
        if recorded is None:
            found.append(None)
            continue
        low, high = recorded[0], recorded[-1]
        median = float(np.interp(0.5, baseline.quantiles, recorded))
        inside = (relative[:, column] >= low) & (relative[:, column] <= high)
        found.append(LayerBaseline(low=low, median=median, high=high, outside_share=float(np.mean(~inside))))
    return found


def unlike_itself(
    baseline: Baseline, layers: tuple[Layer, ...], compared: list[LayerBaseline | None]
) -> UnlikeItself | None:
    """The layers most samples fall outside of; None where nothing was recorded."""
    known = [(layer.name, one) for layer, one in zip(layers, compared, strict=True) if one is not None]
    if not known:
        return None
    outside = [name for name, one in known if one.outside_share > LAYER_SHARE]
    low, high = baseline.quantiles[0], baseline.quantiles[-1]
    return UnlikeItself(
        unlike=len(outside) > MODEL_SHARE * len(known),
        because=(
            f"In {len(outside)} of {len(known)} layers most of these images have gradients outside the range "
            f"({low:.0%} to {high:.0%}) of {baseline.images} training images."
        ),
        images=baseline.images,
        low_quantile=low,
        high_quantile=high,
        layers=outside,
    )
