"""Match the weights of an imported graph to a network's parameters by their numbers."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from service.contract.bundle_schema import Bundle

FOLDING_TOLERANCE = 1e-4
"""Relative. BatchNorm folded by an exporter and by torch differs by rounding."""
Sources = Mapping[str, str]
"""Name of a layer's weight, of its bias, or of another parameter → the tensor that holds it."""


def weight_of(layer: str) -> str:
    """Return the name under which a layer's weight is compared; another parameter may be called like the layer."""
    return f"{layer}.weight"


def bias_of(layer: str) -> str:
    """Return the name under which a layer's bias is compared."""
    return f"{layer}.bias"


def sources_of(bundle: Bundle, model: ModelProto) -> dict[str, str]:
    """Return the tensor of every layer's weight and bias and of every other parameter of a bundle.

    It is an initializer, or what nodes compute from some. It is empty where the model has none of that name.
    """
    stored = _constants(model)
    sources = {}
    for layer in bundle.layers:
        weight = next((name for name in (f"{layer.name}.weight", layer.name) if name in stored), "")
        sources[weight_of(layer.name)] = weight
        if layer.bias:
            candidates = (*_beside(weight, model), f"{layer.name}.bias", f"{layer.name}_bias")
            sources[bias_of(layer.name)] = next((name for name in candidates if name in stored), "")
    for entry in bundle.other_parameters:
        sources[entry.name] = entry.name if entry.name in stored else ""
    return sources


def _constants(model: ModelProto) -> set[str]:
    """Return the initializers, and what nodes compute from them alone, or from sizes."""
    of_image = {value.name for value in model.graph.input}
    found = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        is_known = node.op_type in ("Shape", "Size") or not of_image.intersection(node.input)
        (found if is_known else of_image).update(node.output)
    return found


def _beside(weight: str, model: ModelProto) -> Iterator[str]:
    """Yield what may be the bias of a weight: the third operand beside it, or what is added to the product."""
    for node in model.graph.node:
        if weight and weight in node.input[1:2]:
            yield from node.input[2:3]
            readers = [other for other in model.graph.node if node.output[0] in other.input]
            added = (name for other in readers if other.op_type == "Add" for name in other.input)
            yield from (name for name in added if name != node.output[0])


def values_of(model: ModelProto, sources: Sources) -> dict[str, np.ndarray]:
    """Return the numbers of every source that is an initializer."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    return {name: numpy_helper.to_array(stored[source]) for name, source in sources.items() if source in stored}


def best_match(network: nn.Module, values: Mapping[str, np.ndarray], batch: Tensor) -> tuple[nn.Module, dict[str, str]]:
    """Choose between the network as it is and as folded by torch: the exporter may have folded BatchNorm.

    torch's pass folds several normalizations into a convolution that serves several times. So the folded network
    counts only if it gives the same scores of `batch`.

    Returns the network whose parameters match more of our values, and their names by ours.
    """
    found = []
    for folds in (False, True):
        candidate = folded(network) if folds else network
        if candidate is None or (folds and not _same_scores(network, candidate, batch)):
            continue
        theirs = {name: parameter.detach().numpy() for name, parameter in candidate.named_parameters()}
        names = match(values, theirs)
        found.append((len(names), candidate, names))
        if len(names) == len(values):
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


def _same_scores(network: nn.Module, other: nn.Module, batch: Tensor) -> bool:
    with torch.no_grad():
        expected, found = network(batch), other(batch)
    return torch.allclose(found, expected, rtol=0, atol=1e-3 * max(1.0, float(expected.abs().max())))


def match(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Map my names to theirs by equal numbers, in any order: exporters rename, transpose and reshape.

    Of a weight that a file holds twice, because the network uses it twice, neither copy is the parameter.
    """
    by_content: dict[int, list[tuple[float, str]]] = {}
    for name, value in theirs.items():
        size, norm = _key(value)
        by_content.setdefault(size, []).append((norm, name))
    names: dict[str, str] = {}
    for name, value in mine.items():
        size, norm = _key(value)
        apart = {
            other: _apart(value, theirs[other])
            for other_norm, other in by_content.get(size, ())
            if abs(other_norm - norm) <= FOLDING_TOLERANCE * max(norm, 1e-30)
        }
        closest = min(apart, key=apart.__getitem__, default="")
        if closest and apart[closest] <= FOLDING_TOLERANCE:
            names[name] = closest
    times = Counter(names.values())
    return {name: theirs for name, theirs in names.items() if times[theirs] == 1}


def _key(value: np.ndarray) -> tuple[int, float]:
    return value.size, float(np.linalg.norm(value.astype(np.float64)))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference of the sorted numbers, relative to the largest number."""
    scale = float(np.abs(b).max(initial=0)) or 1.0
    return float(np.abs(np.sort(a, axis=None) - np.sort(b, axis=None)).max(initial=0)) / scale
