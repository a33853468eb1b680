"""What each layer makes of an image: statistics, and its strongest channels as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.bundle_schema import Bundle, Layer
from service.diagnostics.pictures import grey_png
from service.diagnostics.schemas import Channel, LayerFeatures

Array = NDArray[Any]

CHANNELS: Final = 6
MOST_CHANNELS: Final = 32
MAP_PREFIX: Final = "map/"


def layer_features(
    bundle: Bundle, maps: Mapping[str, Array], activations: Mapping[str, Array], row: int, channels: int
) -> list[LayerFeatures]:
    """One sample's layers in forward order.

    Args:
        maps: outputs of `feature_maps`: `map/<layer>` [N, c, h, w]; a layer without one (the classifier) is left out.
        activations: outputs of `activations`.
        row: which sample.
        channels: how many pictures per layer.
    """
    return [
        _one_layer(layer, maps[MAP_PREFIX + layer.name][row], activations, row, column, channels)
        for column, layer in enumerate(bundle.layers)
        if MAP_PREFIX + layer.name in maps and maps[MAP_PREFIX + layer.name].ndim == 4
    ]


def _one_layer(
    layer: Layer, pictures: Array, activations: Mapping[str, Array], row: int, column: int, channels: int
) -> LayerFeatures:
    strength = np.nan_to_num(pictures.mean(axis=(1, 2)), nan=-np.inf)
    strongest = np.argsort(-strength, kind="stable")[:channels]
    return LayerFeatures(
        name=layer.name,
        depth=layer.depth,
        height=pictures.shape[1],
        width=pictures.shape[2],
        mean=float(activations["activation_mean"][row, column]),
        variance=float(activations["activation_variance"][row, column]),
        zero_share=float(activations["activation_zero_share"][row, column]),
        channels=[
            Channel(
                channel=int(channel),
                peak=float(pictures[channel].max()),
                picture=grey_png(pictures[channel], float(pictures[channel].max()) or 1.0),
            )
            for channel in strongest
        ],
    )
