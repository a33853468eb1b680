"""`python -m export rewrite`: derive a shipped bundle's gradient graphs again, from what the bundle holds.

For bundles of our own networks, after the engine has changed. The network is rebuilt in torch out of
the stored forward graph and `normalization.npz`, which has what folding took out of the weights, and
the new graphs are verified against it as at export. The stored weights stay as they are, to the bit.
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
from export.writing.bundle import WEIGHTS_FILE, opset_of, read_bundle, write_bundle
from models.networks.network import Architecture, Network
from service.contract.bundle_schema import Bundle

SAME = 1e-5
"""Relative; folding a weight that was divided by its ratio again differs by rounding."""


def rewrite(folder: Path, images: np.ndarray) -> Bundle:
    """Rewrite all graphs of the bundle in `folder`, verified on `images`, float32 [8 or more, c, h, w].

    Raises:
        RunError: the bundle is no network of ours, or lacks what folding took away.
        ParityError: a graph disagrees with torch; nothing is written.
    """
    bundle, stored = read_bundle(folder)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored["forward"].graph.initializer}
    network = rebuilt(bundle, weights, folder)
    forward, constants = forward_graph(network, bundle.input.height), constants_of(network)
    prepared = prepare(forward, constants=constants)
    _keep(prepared, weights)
    graphs = all_graphs(prepared)
    parity = verify(network, forward, constants, graphs, images)
    written = bundle.model_copy(update={"parity": parity, "opset": opset_of(graphs)})
    made = {WEIGHTS_FILE, "bundle.json", *(graph.file for graph in bundle.graphs.values())}
    others = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name not in made}
    return write_bundle(written, graphs, folder, others)


def rebuilt(bundle: Bundle, weights: dict[str, np.ndarray], folder: Path) -> Network:
    """The torch network, in inference mode, whose folded weights are `weights`."""
    described = bundle.architecture
    if described.family == "imported" or described.activation is None or described.normalization is None:
        raise RunError(f"{folder} is not a network of ours; import its file again")
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


def _keep(prepared: Prepared, weights: dict[str, np.ndarray]) -> None:
    """Put the stored weights in place of those that were folded anew."""
    for name, value in weights.items():
        if name in prepared.graph.constants:
            anew = prepared.graph.constants[name]
            if not np.allclose(anew, value, rtol=SAME, atol=SAME * float(np.abs(value).max())):
                raise RunError(f"{name} does not fold to what is stored")
            prepared.graph.constants[name] = value
