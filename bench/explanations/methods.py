"""The maps that are compared: those of the service, and what else can be had for as few runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from bench.explanations.curves import blurred
from bench.explanations.network import Floats, Network
from service.diagnostics.explanation.asked import Asked
from service.diagnostics.explanation.gradients import gradients
from service.diagnostics.explanation.maps import at_picture_size
from service.diagnostics.explanation.methods import evidence
from service.offline.model import finished

Map = Callable[[Floats, int], Floats]
"""From a picture, [channels, height, width], and a label to a map [height, width]."""

POINTS: Final = 8
"""Points on each of the two paths."""
FEW: Final = 16
"""Steps that fit into a two-hundredth of RISE's runs."""


@dataclass(frozen=True)
class Method:
    """A way to a map, and how often it runs the network for one picture, forwards or forwards and backwards."""

    find: Map
    runs: int


def methods_of(network: Network) -> Mapping[str, Method]:
    """Return every method by its name; those that the service has stand first, in its words."""
    cam, deeper = partial(served, network, Asked()), earlier_layers(network)
    return {
        "grad_cam": Method(cam, 1),
        **{
            f"grad_cam, {size[0]} × {size[1]} positions": Method(partial(served, network, Asked(layer=name)), 1)
            for size, name in deeper.items()
        },
        "grad_cam, mean of those": Method(partial(mean_of_depths, network, [None, *deeper.values()]), 1 + len(deeper)),
        "integrated_gradients, 64 steps": Method(partial(served, network, Asked("integrated_gradients")), 65),
        "integrated_gradients, 16 steps": Method(
            partial(served, network, Asked("integrated_gradients", steps=FEW)), FEW + 1
        ),
        "smooth_grad, 50 steps": Method(partial(served, network, Asked("smooth_grad")), 51),
        "smooth_grad, 16 steps": Method(partial(served, network, Asked("smooth_grad", steps=FEW)), FEW + 1),
        "input_x_gradient": Method(partial(served, network, Asked("input_x_gradient")), 1),
        "gradients along two paths": Method(partial(along_two_paths, network), 2 * POINTS),
        "gradients along two paths, smoothed": Method(partial(along_two_paths, network, deviation=0.7), 2 * POINTS),
        "random order": Method(random_map, 0),
    }


def served(network: Network, asked: Asked, image: Floats, label: int) -> Floats:
    """Return the map that the service gives, at the picture's size."""
    model = network.model
    found = finished(evidence(model.run, model.bundle, image[None], np.array([label]), asked))
    values = found.values[0]
    if asked.method == "grad_cam":
        values = np.maximum(values, 0)
    return at_picture_size(values, *image.shape[1:])


def earlier_layers(network: Network) -> dict[tuple[int, int], str]:
    """Return the last layer of each size of map but the smallest: size → name."""
    last = {layer.map_size: layer.name for layer in network.bundle.layers if layer.map_size}
    smallest = min(last)
    return {size: name for size, name in reversed(last.items()) if size != smallest}


def mean_of_depths(network: Network, layers: list[str | None], image: Floats, label: int) -> Floats:
    """Return the mean of Grad-CAM's maps of several layers, each divided by its largest number."""
    maps = [served(network, Asked(layer=layer), image, label) for layer in layers]
    mean: Floats = np.mean([values / max(float(values.max()), 1e-30) for values in maps], axis=0)
    return mean


def along_two_paths(network: Network, image: Floats, label: int, deviation: float = 0.0) -> Floats:
    """Return integrated gradients along the paths from zeros and from the blurred picture, added up.

    Args:
        deviation: of the Gaussian, in pixels, that smooths the map; 0 for none.
    """
    model = network.model
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    at = ((nodes + 1) / 2).reshape(-1, 1, 1, 1)
    ways = [image - start for start in (np.zeros_like(image), blurred(image))]
    points = np.concatenate([image - (1 - at) * way for way in ways]).astype(np.float32)
    found, _ = finished(gradients(model.run, model.bundle.input, points, np.full(len(points), label)))
    means = np.tensordot(weights / 2, found.reshape(2, POINTS, *image.shape), axes=(0, 1))
    values: Floats = (means * np.stack(ways)).sum(axis=(0, 1))
    return blurred(values, deviation) if deviation else values


def random_map(image: Floats, label: int) -> Floats:
    """Return numbers that say nothing, others for every picture."""
    return np.random.default_rng(abs(int(1e6 * float(image.sum()))) + label).random(image.shape[1:])
