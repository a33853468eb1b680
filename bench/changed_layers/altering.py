"""Alterations of one layer of a network, and of all others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional

from bench.changed_layers.versions import Versions, Weights
from service.contract.arrays import Array
from service.contract.label_kinds import Labels

Training = tuple[Array, Labels]
"""Training images as the network reads them, float32 [n, c, h, w], and their classes."""
Alteration = Callable[[Versions, str, np.random.Generator, Training], Array]

BATCH = 32


def _noise(share: float) -> Alteration:
    def altered(versions: Versions, layer: str, random: np.random.Generator, training: Training) -> Array:
        weight = versions.weights[layer]
        return np.asarray(weight + share * weight.std() * random.normal(size=weight.shape))

    return altered


def _pruned(share: float) -> Alteration:
    def altered(versions: Versions, layer: str, random: np.random.Generator, training: Training) -> Array:
        weight = versions.weights[layer]
        return np.where(np.abs(weight) < np.quantile(np.abs(weight), share), 0.0, weight)

    return altered


def _retrained(steps: int, rate: float) -> Alteration:
    def altered(versions: Versions, layer: str, random: np.random.Generator, training: Training) -> Array:
        return versions.folded(trained(versions, [f"{layer}.weight"], steps, rate, random, training))[layer]

    return altered


def _rounded(bits: int) -> Alteration:
    """Return rounding to signed integers with one scale for the whole weight."""

    def altered(versions: Versions, layer: str, random: np.random.Generator, training: Training) -> Array:
        weight = versions.weights[layer]
        scale = np.abs(weight).max() / (2 ** (bits - 1) - 1)
        return np.asarray(np.round(weight / scale) * scale)

    return altered


ALTERATIONS: Mapping[str, tuple[Alteration, Alteration]] = {
    "noise": (_noise(0.3), _noise(0.03)),
    "pruning": (_pruned(0.5), _pruned(0.1)),
    "retraining": (_retrained(20, 0.03), _retrained(2, 0.003)),
    "rounding": (_rounded(4), _rounded(8)),
}
"""Kind → one that changes the loss as a rule, and one that hardly does."""


def kept(versions: Versions, random: np.random.Generator, training: Training) -> Weights:
    """Leave all weights as they are."""
    return {}


def halved(versions: Versions, random: np.random.Generator, training: Training) -> Weights:
    """Return all weights after a round trip through float16."""
    return {name: weight.astype(np.float16).astype(np.float32) for name, weight in versions.weights.items()}


def tuned(versions: Versions, random: np.random.Generator, training: Training) -> Weights:
    """Return all weights after three steps of training at a tiny learning rate."""
    names = [f"{name}.weight" for name in versions.weights]
    return versions.folded(trained(versions, names, 3, 1e-5, random, training))


BACKGROUNDS: Mapping[str, Callable[[Versions, np.random.Generator, Training], Weights]] = {
    "unchanged": kept,
    "float16": halved,
    "tuning": tuned,
}
"""Changes of all other layers by name: none, or such small ones that no difference is 0."""


def trained(
    versions: Versions, names: list[str], steps: int, rate: float, random: np.random.Generator, training: Training
) -> torch.nn.Module:
    """Return the network after so many steps of gradient descent on some of its parameters, in inference mode."""
    network = copy.deepcopy(versions.network)
    chosen = [parameter for name, parameter in network.named_parameters() if name in names]
    optimizer = torch.optim.SGD(chosen, lr=rate, momentum=0.9)
    for _ in range(steps):
        rows = random.choice(len(training[0]), BATCH, replace=False)
        optimizer.zero_grad()
        images, classes = (torch.from_numpy(array[rows]) for array in training)
        torch.autograd.backward(functional.cross_entropy(network(images), classes))
        optimizer.step()
    return network
