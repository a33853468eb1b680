"""Features of an image, layer by layer: statistics, and the strongest channels as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle, Layer, Separability
from service.diagnostics.losses import predicted_sets
from service.diagnostics.pictures import grey_png
from service.diagnostics.schemas.features import (
    Channel,
    LayerFeatures,
    SampleFeatures,
    SampleLabelsFeatures,
    SeparabilityByDepth,
)
from service.diagnostics.schemas.gradients import InputGradient

CHANNELS: Final = 6
"""Pictures per layer, unless the request says otherwise."""
MOST_CHANNELS: Final = 32
MAP_PREFIX: Final = "map/"


def layer_features(
    bundle: Bundle, maps: Mapping[str, Array], activations: Mapping[str, Array], row: int, channels: int
) -> list[LayerFeatures]:
    """Describe the layers of one sample, in forward order.

    Args:
        bundle: the bundle of the model.
        maps: outputs of `feature_maps`: `map/<layer>` [N, c, h, w]. A layer without one, such as the classifier, is
            left out.
        activations: outputs of `activations`.
        row: number of the sample.
        channels: pictures per layer.
    """
    return [
        _one_layer(layer, maps[MAP_PREFIX + layer.name][row], activations, row, column, channels, bundle.separability)
        for column, layer in enumerate(bundle.layers)
        if MAP_PREFIX + layer.name in maps and maps[MAP_PREFIX + layer.name].ndim == 4
    ]


def sample_features(
    bundle: Bundle, logits: Array, layers: Sequence[list[LayerFeatures]], saliencies: Sequence[InputGradient]
) -> list[SampleFeatures] | list[SampleLabelsFeatures]:
    """Return the layers and the saliency of each sample, with the labels that the network predicts."""
    pairs = list(zip(layers, saliencies, strict=True))
    if bundle.label_kind == "independent":
        return [
            SampleLabelsFeatures(predicted_labels=names, predicted_indices=indices, layers=own, saliency=saliency)
            for (names, indices), (own, saliency) in zip(predicted_sets(bundle, logits), pairs, strict=True)
        ]
    return [
        SampleFeatures(predicted_label=bundle.labels[index], predicted_index=index, layers=own, saliency=saliency)
        for index, (own, saliency) in zip(np.argmax(logits, axis=1).tolist(), pairs, strict=True)
    ]


def separability_by_depth(bundle: Bundle) -> SeparabilityByDepth | None:
    """Return how well each layer tells the classes apart by the bundle's record; None if it has no record."""
    record = bundle.separability
    if record is None or not record.nearest_mean:
        return None
    shares = {
        layer.name: record.nearest_mean[layer.name] for layer in bundle.layers if layer.name in record.nearest_mean
    }
    first, last, best = next(iter(shares)), next(reversed(shares)), max(shares, key=lambda name: shares[name])
    because = (
        f"Of {record.judged} labelled images {first} puts {shares[first]:.0%} nearest to their own class's mean and "
        f"{last} {shares[last]:.0%}; chance is {record.chance:.0%}."
    )
    if shares[best] > shares[last] + 0.02:
        because += f" {best} tells the classes apart best, with {shares[best]:.0%}."
    return SeparabilityByDepth(
        because=because, fitted=record.fitted, judged=record.judged, chance=record.chance, nearest_mean=shares
    )


def _one_layer(
    layer: Layer,
    pictures: Array,
    activations: Mapping[str, Array],
    row: int,
    column: int,
    channels: int,
    separability: Separability | None,
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
        separability=separability.nearest_mean.get(layer.name) if separability else None,
        channels=[
            Channel(
                channel=int(channel),
                peak=float(pictures[channel].max()),
                picture=grey_png(pictures[channel], float(pictures[channel].max()) or 1.0),
            )
            for channel in strongest
        ],
    )
