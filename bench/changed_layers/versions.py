"""A shipped network, and versions of it with other weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export.gradient import Prepared, differentiate, prepare
from export.gradient.norms.layers import describe
from export.trained.forward import constants_of, forward_graph
from export.trained.rewrite import rebuilt, restore_stored_weights
from export.writing.bundle import read_bundle_and_graphs, write_bundle
from models.networks.network import Network
from service.bundles.disk import StoredBundle, read_bundle
from service.contract.bundle_schema import Bundle, GraphName

Weights = Mapping[str, NDArray[np.float32]]
"""Layer → its weight, with its normalization folded in, as the graphs hold it."""

GRAPHS: tuple[GraphName, ...] = ("forward", "weight_norms", "loss_slopes")


class Versions:
    """A network as it is shipped; `network` is the same in torch, in inference mode."""

    def __init__(self, shipped: Path) -> None:
        self._bundle, stored = read_bundle_and_graphs(shipped)
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored["forward"].graph.initializer}
        self.network: Network = rebuilt(self._bundle, weights, shipped)
        side = self._bundle.input.height
        self._prepared = prepare(forward_graph(self.network, side), constants=constants_of(self.network))
        restore_stored_weights(self._prepared, weights)

    @property
    def bundle(self) -> Bundle:
        return self._bundle

    @property
    def weights(self) -> Weights:
        """The weights of all layers."""
        constants = self._prepared.graph.constants
        names = (layer.name for layer in self._prepared.layers)
        return {name: constants[layer.operand] for name, layer in zip(names, self._prepared.weighted, strict=True)}

    def folded(self, network: torch.nn.Module) -> Weights:
        """Return the weights of `network`, which differs from `self.network` in weights alone, folded as here."""
        own = dict(self.network.named_parameters())
        found = {}
        for name, weight in self.weights.items():
            norm = self._prepared.graph.folded.get(f"{name}.weight")
            ratio = 1.0 if norm is None else norm.ratio.reshape(-1, *[1] * (weight.ndim - 1))
            moved = dict(network.named_parameters())[f"{name}.weight"] - own[f"{name}.weight"]
            found[name] = (weight + moved.detach().numpy() * ratio).astype(np.float32)
        return found

    def written(self, weights: Weights, folder: Path, graphs: Sequence[GraphName] = GRAPHS) -> StoredBundle:
        """Write the version with these weights in place of its own as a bundle of these graphs."""
        version = self._with(weights)
        layers = tuple(
            described.model_copy(update={"weight_norm": describe(version.graph, layer).weight_norm})
            for described, layer in zip(version.layers, version.weighted, strict=True)
        )
        derived = {name: differentiate(version, name) for name in graphs}
        write_bundle(self._bundle.model_copy(update={"layers": layers, "baseline": None}), derived, folder)
        return read_bundle(folder, is_called=False)

    def _with(self, weights: Weights) -> Prepared:
        known = self._prepared
        operands = {name: layer.operand for name, layer in zip(self.weights, known.weighted, strict=True)}
        constants = known.graph.constants | {operands[name]: weight for name, weight in weights.items()}
        return replace(known, graph=replace(known.graph, constants=constants))
