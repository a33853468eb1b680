"""Compares norms with the quantiles that the bundle recorded on its training images: is the model like itself?"""

from __future__ import annotations

from typing import Final

import numpy as np

from service.contract.arrays import Float64
from service.contract.bundle_schema import Baseline, Layer
from service.diagnostics.schemas.gradients import LayerBaseline, UnlikeItself
from service.diagnostics.verdicts.explanations import explained
from service.diagnostics.words import percent, plural

LAYER_SHARE: Final = 0.5
"""A layer is unlike itself if more than this share of the samples is outside the recorded range."""
MODEL_SHARE: Final = 0.25
"""A model is unlike itself if more than this share of its layers is."""


def layer_baselines(
    baseline: Baseline | None, layers: tuple[Layer, ...], relative: Float64
) -> list[LayerBaseline | None]:
    """Return the recorded range of each layer and the share of the samples that is outside of it.

    None for a layer without a record, and for all layers where there are no samples.

    Args:
        baseline: the bundle's record, if it has one.
        layers: the L layers of the bundle.
        relative: scaled_gradient_norm / ‖dL/dlogits‖ of N samples, [N, L].
    """
    if baseline is None or not len(relative):
        return [None] * len(layers)
    found: list[LayerBaseline | None] = [None] * len(layers)
    known = [column for column, layer in enumerate(layers) if layer.name in baseline.scaled_gradient_norm]
    if not known:
        return found
    recorded = np.array([baseline.scaled_gradient_norm[layers[column].name] for column in known])
    low, high = recorded[:, 0], recorded[:, -1]
    inside = (relative[:, known] >= low) & (relative[:, known] <= high)
    columns = np.stack([low, _medians(baseline.quantiles, recorded), high, (~inside).mean(axis=0)], axis=1).tolist()
    for column, (least, median, most, outside) in zip(known, columns, strict=True):
        found[column] = LayerBaseline(low=least, median=median, high=most, outside_share=outside)
    return found


def _medians(quantiles: tuple[float, ...], recorded: Float64) -> Float64:
    """Interpolate each row of `recorded` at probability 0.5."""
    position = float(np.interp(0.5, quantiles, range(len(quantiles))))
    below = recorded[:, int(position)]
    above = recorded[:, min(int(position) + 1, len(quantiles) - 1)]
    medians: Float64 = below + position % 1 * (above - below)
    return medians


def unlike_itself(
    baseline: Baseline, layers: tuple[Layer, ...], compared: list[LayerBaseline | None]
) -> UnlikeItself | None:
    """Say which layers most samples are outside the recorded range of; None if nothing was recorded."""
    known = [(layer.name, one) for layer, one in zip(layers, compared, strict=True) if one is not None]
    if not known:
        return None
    outside = [name for name, one in known if one.outside_share > LAYER_SHARE]
    low, high = baseline.quantiles[0], baseline.quantiles[-1]
    allowed = int(MODEL_SHARE * len(known))
    unlike = len(outside) > allowed
    return UnlikeItself(
        **explained(
            "unlike itself",
            "unlike" if unlike else "like",
            f"In {len(outside)} of {plural(len(known), 'layer')}, the gradient is outside the range ({percent(low)} to "
            f"{percent(high)}) of {plural(baseline.images, 'training image')}, on most of the images given (unlike "
            f"itself from {plural(allowed + 1, 'layer')} on).",
        ),
        unlike=unlike,
        images=baseline.images,
        low_quantile=low,
        high_quantile=high,
        layers=outside,
    )
