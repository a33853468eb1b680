"""Every run of a table by its name: what opens it, and the packages that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from bench.gradients import peers
from bench.gradients.peers import Norms, Peer, PeerRun, layer_weights
from bench.gradients.rivals import converted, reversed
from bench.gradients.rivals.hooks import LAYERS, hooked
from bench.gradients.rivals.layout import channels_last
from bench.gradients.runs import Bound, session
from bench.gradients.subject import GRAPHS, Subject

RUNTIME = ("onnxruntime", "numpy")
BACKWARD, VMAP = "torch forward + backward", "torch vmap(grad)"


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        open: reads the subject's files and returns the run; raises whatever the package raises.
        packages: names on PyPI of what must be installed to run it; deriving its graph beforehand may take more.
    """

    open: Callable[[Subject], PeerRun]
    packages: tuple[str, ...]


def ours(graph: str, subject: Subject) -> PeerRun:
    """Open one of our graphs."""
    run, feeds = session(subject.graph(graph)), subject.feeds()
    return Bound(run, {value.name: feeds[value.name] for value in run.get_inputs()}, "cpu")


def in_torch(peer: Peer, subject: Subject, last: bool = False) -> PeerRun:
    """Open a run of the torch module, its norms in the order of the subject's layers.

    Args:
        last: the channels are last in memory.
    """
    network, (images, labels) = subject.network(), subject.tensors()
    weights = list(layer_weights(network))
    columns = [weights.index(f"{layer}.weight") for layer in subject.layers]
    run = peer(channels_last(network), channels_last(images), labels) if last else peer(network, images, labels)

    def ordered() -> Norms | None:
        norms = run()
        return None if norms is None else norms[:, columns]

    return ordered


def torch_hooks(subject: Subject) -> PeerRun:
    """Open the run by hooks of the torch module itself."""
    network, (images, labels) = channels_last(subject.network()), subject.tensors()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LAYERS)}
    return hooked(network, [layers[name] for name in subject.layers], channels_last(images), labels)


def of_converted(norms: Callable[[Subject, nn.Module], PeerRun], convert: Callable[[Subject], nn.Module]) -> Row:
    """Return the row of a converter."""
    return Row(lambda subject: norms(subject, convert(subject)), (convert.__name__,))


RIVALS = {
    "torch forward": Row(partial(in_torch, peers.torch_forward, last=True), ("torch",)),
    BACKWARD: Row(partial(in_torch, peers.torch_backward, last=True), ("torch",)),
    VMAP: Row(partial(in_torch, peers.functorch), ("torch",)),
    "torch, hooks": Row(torch_hooks, ("torch",)),
    "BackPACK BatchL2Grad": Row(partial(in_torch, peers.backpack), ("backpack-for-pytorch",)),
    "Opacus, normalization frozen": Row(partial(in_torch, peers.opacus), ("opacus",)),
    "onnx2pytorch, vmap(grad)": of_converted(converted.by_vmap, converted.onnx2pytorch),
    "onnx2pytorch, hooks": of_converted(converted.by_hooks, converted.onnx2pytorch),
    "onnx2torch, vmap(grad)": of_converted(converted.by_vmap, converted.onnx2torch),
    "onnx2torch, hooks": of_converted(converted.by_hooks, converted.onnx2torch),
    "onnx-ad, input gradient alone": Row(reversed.input_gradient, RUNTIME),
    "onnx-ad, weights sample by sample": Row(reversed.weight_norms, RUNTIME),
}
OURS = {graph: Row(partial(ours, graph), RUNTIME) for graph in ("forward", *GRAPHS)}
ROWS = OURS | RIVALS
