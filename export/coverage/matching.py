"""Match the weights of an imported graph to a network's parameters by their numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
from torch import nn

FOLDING_TOLERANCE = 1e-4
"""Relative. BatchNorm folded by an exporter and by torch differs by rounding."""


def best_match(network: nn.Module, weights: Mapping[str, np.ndarray | None]) -> tuple[nn.Module, dict[str, str]]:
    """Choose between the network as it is and as folded by torch: the exporter may have folded BatchNorm.

    Returns the network whose parameters match more of our weights, and their names by ours.
    """
    found = []
    present = {name: value for name, value in weights.items() if value is not None}
    for candidate in (network, folded(network)):
        if candidate is None:
            continue
        values = {name: parameter.detach().numpy() for name, parameter in candidate.named_parameters()}
        names = match(present, values)
        found.append((len(names), candidate, names))
        if len(names) == len(weights):
            break
    _, chosen, names = max(found, key=lambda entry: entry[0])
    return chosen, names


def folded(network: nn.Module) -> nn.Module | None:
    """Fold BatchNorm by torch's own pass; None where the network cannot be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        fused: nn.Module = fuse(copy.deepcopy(network).eval())
    except Exception:  # torch.fx raises whatever the traced code raises
        return None
    return fused.requires_grad_(True)


def match(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Map my names to theirs by equal numbers, in any order: exporters rename, transpose and reshape."""
    by_content: dict[tuple[int, float], list[str]] = {}
    for name, value in theirs.items():
        by_content.setdefault(_key(value), []).append(name)
    names: dict[str, str] = {}
    for name, value in mine.items():
        size, norm = _key(value)
        candidates = [
            other
            for (other_size, other_norm), others in by_content.items()
            if other_size == size and abs(other_norm - norm) <= FOLDING_TOLERANCE * max(norm, 1e-30)
            for other in others
        ]
        equal = [other for other in candidates if _same_numbers(value, theirs[other])]
        if equal:
            names[name] = equal[0]
    return names


def _key(value: np.ndarray) -> tuple[int, float]:
    return value.size, float(np.linalg.norm(value.astype(np.float64)))


def _same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    scale = float(np.abs(b).max(initial=0)) or 1.0
    return bool(np.allclose(np.sort(a, axis=None), np.sort(b, axis=None), rtol=0, atol=FOLDING_TOLERANCE * scale))
