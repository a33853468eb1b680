"""Per-sample norms in torch by hooks: each layer's input and the gradient of its output give ‖dW‖ of every sample.

The parameters are frozen, so that torch spends nothing on the batch's own dW. Of the ways to the norm each layer gets
the one that was fastest for it on our networks: Gram matrices where they are smaller than dW, a product for kernels of
one entry, elsewhere one convolution with as many groups as samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from bench.gradients.peers import Norms, PeerRun, on_host

Layer = nn.Conv2d | nn.Linear
LAYERS = (nn.Conv2d, nn.Linear)
Pair = tuple[int, int]


def layers_of(network: nn.Module) -> list[Layer]:
    """Return the convolutions and linear layers, in the module's order."""
    return [module for module in network.modules() if isinstance(module, LAYERS)]


def hooked(network: nn.Module, layers: Sequence[Layer], images: Tensor, labels: Tensor) -> PeerRun:
    """Return a run that gives the norms [n, layers] of the given layers' weights; the network is frozen."""
    norms: dict[Layer, Tensor] = {}
    network.requires_grad_(False)

    def keep(layer: Layer, x: Tensor, dy: Tensor) -> None:
        norms[layer] = gradient_norms(layer, x, dy)

    def watch(layer: Layer, arguments: tuple[Tensor], output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_(True)
        output.register_hook(partial(keep, layer, arguments[0].detach()))  # type: ignore[no-untyped-call]

    for layer in layers:
        layer.register_forward_hook(watch)

    def run() -> Norms:
        norms.clear()
        functional.cross_entropy(network(images), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
        return on_host(norms[layer] for layer in layers)

    return run


def gradient_norms(layer: Layer, x: Tensor, dy: Tensor) -> Tensor:
    """Return ‖dW‖ of each sample [n], from the layer's input and the gradient of its output."""
    if isinstance(layer, nn.Linear):
        return lengths(x) * lengths(dy)
    rows, positions = dy.flatten(2), dy.shape[2] * dy.shape[3]
    columns, channels = layer.weight[0].numel(), layer.weight.shape[0]
    if layer.groups == 1 and positions * (columns + channels) < columns * channels:
        taken = unfolded(layer, x)
        return (taken.mT @ taken).mul(rows.mT @ rows).sum((1, 2)).clamp(min=0).sqrt()
    if layer.groups == 1 and layer.kernel_size == (1, 1):
        return lengths(rows @ unfolded(layer, x).mT)
    return by_groups(layer, x, dy)


def unfolded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return what the kernel sees at each position [n, entries of a kernel, positions]."""
    if layer.kernel_size == (1, 1) and layer.padding == (0, 0):
        return x[:, :, :: layer.stride[0], :: layer.stride[1]].flatten(2)
    return functional.unfold(x, layer.kernel_size, layer.dilation, padding(layer), layer.stride)


def by_groups(layer: nn.Conv2d, x: Tensor, dy: Tensor) -> Tensor:
    """Return ‖dW‖ of each sample [n], all dW at once: the samples stand side by side as groups of channels."""
    samples = len(x)
    shape = (samples * layer.weight.shape[0], *layer.weight.shape[1:])
    aside = [value.reshape(1, -1, *value.shape[2:]) for value in (x, dy)]
    groups = samples * layer.groups
    dw = conv2d_weight(aside[0], shape, aside[1], layer.stride, padding(layer), layer.dilation, groups)  # type: ignore[no-untyped-call]
    return lengths(dw.reshape(samples, -1))


def lengths(values: Tensor) -> Tensor:
    """Return the norm of each sample [n]."""
    norms: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return norms


def padding(layer: nn.Conv2d) -> Pair:
    """Return the padding in numbers.

    Raises:
        ValueError: it is a word.
    """
    if isinstance(layer.padding, str):
        raise ValueError(f"padding {layer.padding!r}")
    return layer.padding  # type: ignore[return-value]  # torch types it as any number of integers
