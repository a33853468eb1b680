"""Gradients of a network by torch autograd, one sample at a time: the truth that graphs are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Truth:
    """Logits, and gradients of the summed loss; dictionaries are keyed by torch's parameter names.

    Args:
        values: the parameters themselves.
        gradient: ‖dL_n/dW‖₂ per sample, [n].
        scaled: √Σ_c (‖W_c‖·‖dW_c‖)² per sample over output channels c, [n], for weights of two or more axes.
        activation: ‖dL_n/dy‖₂ per sample, [n], where y is the output of the first function that the weight is
            passed to; for weights of two or more axes.
        batch: ‖Σ_n dL_n/dW‖₂.
        logits: [n, k].
        input_gradient: dL/dx, [n, c, h, w].
    """

    values: dict[str, np.ndarray]
    gradient: dict[str, np.ndarray]
    scaled: dict[str, np.ndarray]
    activation: dict[str, np.ndarray]
    batch: dict[str, float]
    logits: np.ndarray
    input_gradient: np.ndarray

    def first(self) -> Truth:
        """Return the truth of the first sample alone, without `batch`."""
        gradient, scaled, activation = (
            {name: norms[:1] for name, norms in by_name.items()}
            for by_name in (self.gradient, self.scaled, self.activation)
        )
        return Truth(self.values, gradient, scaled, activation, {}, self.logits[:1], self.input_gradient[:1])


def truth(
    network: nn.Module, images: Tensor, labels: Sequence[int | Sequence[int]], dtype: torch.dtype = torch.float64
) -> Truth:
    """Differentiate the loss of every sample in `dtype`, with every ε as ONNX stores it.

    Args:
        network: its parameters are converted to `dtype` and back to float32, so they must be float32.
        images: float32 [n, c, h, w].
        labels: one class per sample, or for each of k independent labels 1 or 0.
    """
    network = network.to(dtype).eval()
    parameters = dict(network.named_parameters())
    matrices = {name: parameter for name, parameter in parameters.items() if parameter.ndim >= 2}
    names = {id(parameter): name for name, parameter in matrices.items()}
    gradient: dict[str, list[float]] = {name: [] for name in parameters}
    scaled: dict[str, list[float]] = {name: [] for name in matrices}
    activation: dict[str, list[float]] = {}
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    logits, input_gradients = [], []
    for image, label in zip(images, labels, strict=True):
        x = image[None].detach().to(dtype).requires_grad_(True)
        with _FirstUses(names) as uses, _stored_epsilons(network):
            scores = network(x)
        loss = loss_of(scores, label)
        found = torch.autograd.grad(loss, [*parameters.values(), x], allow_unused=True)
        for (name, parameter), dw in zip(parameters.items(), found, strict=False):
            dw = torch.zeros_like(parameter) if dw is None else dw
            gradient[name].append(float(dw.norm()))
            total[name] += dw
            if name in scaled:
                scaled[name].append(scaled_norm(parameter, dw))
        for name, dy in uses.gradients.items():
            activation.setdefault(name, []).append(float(dy.norm()))
        logits.append(scores[0].detach().numpy())
        input_gradients.append(found[-1][0].numpy())
    network.float()
    gradients, scaled_norms, activations = (
        {name: np.array(norms) for name, norms in by_name.items()} for by_name in (gradient, scaled, activation)
    )
    return Truth(
        {name: parameter.detach().numpy() for name, parameter in parameters.items()},
        gradients,
        scaled_norms,
        activations,
        {name: float(dw.norm()) for name, dw in total.items()},
        np.stack(logits),
        np.stack(input_gradients),
    )


def logit_gradients(
    network: nn.Module, images: Tensor, labels: Sequence[int], dtype: torch.dtype = torch.float64
) -> np.ndarray:
    """Differentiate the logit of each sample's class in `dtype`, dz/dx, [n, image numbers].

    Args:
        network: its parameters are converted to `dtype` and back to float32, so they must be float32.
        images: float32 [n, c, h, w].
    """
    network = network.to(dtype).eval()
    rows = []
    with _stored_epsilons(network):
        for image, label in zip(images, labels, strict=True):
            x = image[None].detach().to(dtype).requires_grad_(True)
            (gradient,) = torch.autograd.grad(network(x)[0, label], x)
            rows.append(gradient.flatten().numpy())
    network.float()
    return np.stack(rows)


def scaled_norm(weight: Tensor, gradient: Tensor) -> float:
    """√Σ_c (‖W_c‖·‖dW_c‖)² over output channels c, which stand first in torch's Conv and Linear weights."""
    return float((weight.detach().flatten(1).norm(dim=1) * gradient.flatten(1).norm(dim=1)).norm())


@contextmanager
def _stored_epsilons(network: nn.Module) -> Iterator[None]:
    """Round the ε of every normalization to float32 within the block, because an ONNX attribute holds no more.

    Where a channel's variance is as small as ε, the rest shows in the ninth digit of the logits.
    """
    own = [(module, eps) for module in network.modules() if isinstance(eps := getattr(module, "eps", None), float)]
    try:
        for module, epsilon in own:
            module.eps = float(np.float32(epsilon))  # type: ignore[assignment]
        yield
    finally:
        for module, epsilon in own:
            module.eps = epsilon  # type: ignore[assignment]


def loss_of(scores: Tensor, label: int | Sequence[int]) -> Tensor:
    """Return the loss of one sample, [1, k]: cross-entropy of a class, or summed binary cross-entropy of labels."""
    if isinstance(label, int):
        return functional.cross_entropy(scores, torch.tensor([label]))
    applies = torch.tensor([label], dtype=scores.dtype)
    return functional.binary_cross_entropy_with_logits(scores, applies, reduction="sum")


class _FirstUses(TorchFunctionMode):
    """Records dL/dy for the output y of the first function that each weight is passed to.

    It watches calls of torch's functions, so modules and bare functions are treated alike. A hook stays with
    the tensor's value when that is later overwritten in place, as `ReLU(inplace=True)` does.
    """

    def __init__(self, names: dict[int, str]) -> None:
        """`names` has the weights to watch for, by `id`."""
        super().__init__()
        self._names = names
        self.hooked: set[str] = set()
        self.gradients: dict[str, Tensor] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        weight = args[1] if len(args) > 1 else (kwargs or {}).get("weight")
        name = self._names.get(id(weight))
        if name is not None and name not in self.hooked and isinstance(result, Tensor) and result.requires_grad:
            self.hooked.add(name)
            result.register_hook(lambda dy: self.gradients.__setitem__(name, dy))  # type: ignore[no-untyped-call]
        return result
