"""What torch autograd says of a network, one sample at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Array = NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """By parameter name: its value, and L2 norms per sample ([n]) of the summed losses' gradients.

    `activation` holds dL/d(output of the function the weight was passed to), for weights of two or
    more axes; `batch` is ‖Σ_n dW_n‖; `logits` [n, k] and `input_gradient` [n, c, h, w].
    """

    values: dict[str, Array]
    weight: dict[str, Array]
    activation: dict[str, Array]
    batch: dict[str, float]
    logits: Array
    input_gradient: Array


class _FirstUses(TorchFunctionMode):
    """Keeps the output of the first function that each weight is passed to: modules and bare functions alike."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self._names = names
        self.outputs: dict[str, Tensor] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        weight = args[1] if len(args) > 1 else (kwargs or {}).get("weight")
        name = self._names.get(id(weight))
        if name is not None and isinstance(result, Tensor) and result.requires_grad:
            self.outputs.setdefault(name, result)
        return result


def truth(network: nn.Module, images: Tensor, classes: Sequence[int]) -> Truth:
    """Norms of every parameter's gradient; `images` float32 [n, c, h, w], one class per sample.

    The network is promoted to double and back: its parameters are stored float32, so exactly.
    """
    network = network.double().eval()
    parameters = {name: parameter for name, parameter in network.named_parameters()}
    names = {id(parameter): name for name, parameter in parameters.items() if parameter.ndim >= 2}
    weight: dict[str, list[float]] = {name: [] for name in parameters}
    activation: dict[str, list[float]] = {}
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    logits, gradients = [], []
    for image, number in zip(images, classes, strict=True):
        x = image[None].double().requires_grad_(True)
        with _FirstUses(names) as uses:
            scores = network(x)
        loss = functional.cross_entropy(scores, torch.tensor([number]))
        wanted = [*parameters.values(), *uses.outputs.values(), x]
        found = torch.autograd.grad(loss, wanted, allow_unused=True)
        for name, gradient in zip(parameters, found, strict=False):
            gradient = torch.zeros_like(parameters[name]) if gradient is None else gradient
            weight[name].append(float(gradient.norm()))
            total[name] += gradient
        for name, dy in zip(uses.outputs, found[len(parameters) : -1], strict=True):
            activation.setdefault(name, []).append(float(dy.norm()))
        logits.append(scores[0].detach().numpy())
        gradients.append(found[-1][0].numpy())
    network.float()
    return Truth(
        {name: parameter.detach().numpy() for name, parameter in parameters.items()},
        {name: np.array(norms) for name, norms in weight.items()},
        {name: np.array(norms) for name, norms in activation.items()},
        {name: float(sum_.norm()) for name, sum_ in total.items()},
        np.stack(logits),
        np.stack(gradients),
    )
