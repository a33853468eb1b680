"""torch and the packages that extend it: forward, backward, functorch, BackPACK, Opacus.

Every peer is a function of (network, images, labels) that returns one run as a callable; the run
returns per-sample weight-gradient norms [n, layers] if the peer has them, otherwise None. A peer
that cannot do it raises, and its row says why.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Norms = NDArray[np.floating[Any]]
PeerRun = Callable[[], Norms | None]
Peer = Callable[[nn.Module, Tensor, Tensor], PeerRun]


def layer_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of two or more axes, in forward order."""
    return {name: weight for name, weight in network.named_parameters() if weight.ndim >= 2}


def on_host(norms: Iterable[Tensor]) -> Norms:
    """Return the layers' norms [n] as one array [n, layers]."""
    result: Norms = torch.stack(list(norms), 1).cpu().numpy()
    return result


def finish(images: Tensor) -> None:
    """Wait for the GPU, if it is in use."""
    if images.is_cuda:
        torch.cuda.synchronize()


def torch_forward(network: nn.Module, images: Tensor, labels: Tensor) -> PeerRun:
    """Eager inference by torch."""

    def run() -> None:
        with torch.no_grad():
            network(images)
        finish(images)

    return run


def torch_backward(network: nn.Module, images: Tensor, labels: Tensor) -> PeerRun:
    """Forward and backward, which gives the batch's gradient only."""
    parameters = list(network.parameters())

    def run() -> None:
        torch.autograd.grad(functional.cross_entropy(network(images), labels, reduction="sum"), parameters)
        finish(images)

    return run


def functorch(network: nn.Module, images: Tensor, labels: Tensor) -> PeerRun:
    """torch.func.vmap(grad): every sample's own gradient of the layers' weights, materialised."""
    return vmap_norms(network, list(layer_weights(network)), images, labels)


def vmap_norms(network: nn.Module, names: Sequence[str], images: Tensor, labels: Tensor) -> PeerRun:
    """Return a run of `torch.func.vmap(grad)` with regard to the named parameters."""
    every = {name: value.detach() for name, value in network.named_parameters()}
    parameters = {name: every[name] for name in names}
    fixed = {name: value for name, value in every.items() if name not in parameters} | dict(network.named_buffers())

    def loss(values: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        scores = torch.func.functional_call(network, (values, fixed), (image[None],))
        return functional.cross_entropy(scores, label[None])

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def run() -> Norms:
        gradients = per_sample(parameters, images, labels)
        return on_host(gradients[name].flatten(1).norm(dim=1) for name in names)

    return run


def backpack(network: nn.Module, images: Tensor, labels: Tensor) -> PeerRun:
    """BackPACK's BatchL2Grad: squared norms per sample and parameter.

    A first-order extension needs only that modules own their parameters and that nothing works in
    place behind its hooks, so the network is not converted to modules alone.
    """
    import backpack as package
    from backpack.extensions import BatchL2Grad

    extended = package.extend(out_of_place(network))
    loss = package.extend(nn.CrossEntropyLoss(reduction="sum"))
    weights: list[Any] = [extended.get_parameter(name) for name in layer_weights(network)]  # BackPACK adds to them

    def run() -> Norms:
        extended.zero_grad()
        with package.backpack(BatchL2Grad()):
            loss(extended(images), labels).backward()
        return on_host(weight.batch_l2.sqrt() for weight in weights)

    return run


def opacus(network: nn.Module, images: Tensor, labels: Tensor) -> PeerRun:
    """Opacus' per-sample gradients by hooks, of the layers' weights.

    Its validator refuses BatchNorm in training, where samples mix. Here normalization stays in
    evaluation mode and frozen; the rest must be in training mode, or no hook runs.
    """
    from opacus.grad_sample import GradSampleModule

    ready = copy.deepcopy(network).train()
    for module in ready.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    sampled = GradSampleModule(ready, loss_reduction="sum", strict=False)
    weights: list[Any] = list(layer_weights(sampled).values())  # with what Opacus adds to them

    def run() -> Norms:
        sampled.zero_grad()
        functional.cross_entropy(sampled(images), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
        return on_host(weight.grad_sample.flatten(1).norm(dim=1) for weight in weights)

    return run


def out_of_place(network: nn.Module) -> nn.Module:
    """Return a copy without operations in place: inplace modules and `x += y`."""
    traced = torch.fx.symbolic_trace(copy.deepcopy(network))
    for node in traced.graph.nodes:
        if node.target is operator.iadd:
            node.target = operator.add
    traced.recompile()
    for module in traced.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 (a torch module's attributes are typed as modules)
    return traced
