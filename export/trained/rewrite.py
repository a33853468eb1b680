"""`python -m export rewrite`: derive a bundle's gradient graphs again after the engine has changed.

This works for bundles of networks trained in `models`, and needs no training run. The torch network is
rebuilt from the stored forward graph and `normalization.npz`, and the new graphs are verified against
it as at export. The stored weights keep every bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from onnx import numpy_helper

from export.gradient import Prepared, prepare
from export.trained.export_run import NORMALIZATION_FILE, all_graphs
from export.trained.forward import RunError, constants_of, forward_graph
from export.verification.verify import verify
from export.writing.bundle import opset_of, read_bundle_and_graphs, write_bundle
from models.networks.network import Architecture, Network
from service.contract.bundle_schema import BUNDLE_FILE, WEIGHTS_FILE, Bundle

FOLDING_TOLERANCE = 1e-5
"""Relative. A stored weight, divided by its BatchNorm's ratio and folded again, differs by rounding."""


def rewrite(folder: Path, images: np.ndarray) -> Bundle:
    """Rewrite all graphs of the bundle in `folder` and verify them on `images`, float32 [8 or more, c, h, w].

    Raises:
        RunError: the bundle was imported, or `normalization.npz` lacks a parameter.
        ParityError: a graph disagrees with torch; nothing is written.
    """
    bundle, stored = read_bundle_and_graphs(folder)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored["forward"].graph.initializer}
    network = rebuilt(bundle, weights, folder)
    forward, constants = forward_graph(network, bundle.input.height), constants_of(network)
    prepared = prepare(forward, constants=constants)
    restore_stored_weights(prepared, weights)
    graphs = all_graphs(prepared)
    parity = verify(network, forward, constants, graphs, images)
    layers = tuple(
        layer.model_copy(update={"map_size": derived.map_size})
        for layer, derived in zip(bundle.layers, prepared.layers, strict=True)
    )
    written = bundle.model_copy(update={"layers": layers, "parity": parity, "opset": opset_of(graphs)})
    rewritten = {WEIGHTS_FILE, BUNDLE_FILE, *(graph.file for graph in bundle.graphs.values())}
    attachments = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name not in rewritten}
    return write_bundle(written, graphs, folder, attachments)


def rebuilt(bundle: Bundle, weights: dict[str, np.ndarray], folder: Path) -> Network:
    """Build the torch network, in inference mode, that folds to `weights`, the bundle's initializers by name."""
    described = bundle.architecture
    if described.family == "imported" or described.activation is None or described.normalization is None:
        raise RunError(f"{folder} holds an imported model; import its file again")
    network = Network(
        Architecture(described.family, described.depth, described.activation, described.normalization),
        classes=len(bundle.labels),
    )
    known = {**weights, **_normalization(folder)}
    state = {name: known.get(name, value.numpy()) for name, value in network.state_dict().items()}
    missing = [name for name in state if name not in known and not name.endswith("num_batches_tracked")]
    if missing:
        raise RunError(f"{folder} does not hold {missing[0]}; export it again from its training run")
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    # Folding multiplied each weight by its BatchNorm's ratio. A first pass finds the ratios; they do not
    # depend on the weights, so dividing the stored weights by them gives those that were trained.
    folded = prepare(forward_graph(network, bundle.input.height), constants=constants_of(network)).graph.folded
    for name, norm in folded.items():
        original = weights[name] / norm.ratio.reshape(-1, *[1] * (weights[name].ndim - 1))
        state[name] = original.astype(np.float32)
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return network.eval()


def _normalization(folder: Path) -> dict[str, np.ndarray]:
    file = folder / NORMALIZATION_FILE
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def restore_stored_weights(prepared: Prepared, weights: dict[str, np.ndarray]) -> None:
    """Replace the weights that were folded anew by the stored ones, which differ by rounding."""
    for name, value in weights.items():
        if name in prepared.graph.constants:
            folded = prepared.graph.constants[name]
            tolerance = FOLDING_TOLERANCE * float(np.abs(value).max())
            if not np.allclose(folded, value, rtol=FOLDING_TOLERANCE, atol=tolerance):
                raise RunError(f"{name}: folding the rebuilt network gives another weight than the stored one")
            prepared.graph.constants[name] = value
