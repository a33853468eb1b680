"""What torch autograd says of a network, one sample at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Truth:
    """By parameter name: its value, and L2 norms per sample ([n]) of the summed losses' gradients.

    `activation` holds dL/d(output of the function the weight was passed to), for weights of two or
    more axes; `batch` is ‖Σ_n dW_n‖; `logits` [n, k] and `input_gradient` [n, c, h, w].
    """

    values: dict[str, np.ndarray]
    weight: dict[str, np.ndarray]
    activation: dict[str, np.ndarray]
    batch: dict[str, float]
    logits: np.ndarray
    input_gradient: np.ndarray

    def first(self) -> Truth:
        """Of the first sample alone."""
        return Truth(
            self.values,
            {name: norms[:1] for name, norms in self.weight.items()},
            {name: norms[:1] for name, norms in self.activation.items()},
            {},
            self.logits[:1],
            self.input_gradient[:1],
        )


class _FirstUses(TorchFunctionMode):
    """Hooks the output of the first function that each weight is passed to: modules and bare functions alike.

    A hook keeps its place when the output is later overwritten in place, as `ReLU(inplace=True)` does.
    """

    def __init__(self, names: dict[int, str]) -> None:
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


def truth(network: nn.Module, images: Tensor, classes: Sequence[int], dtype: torch.dtype = torch.float64) -> Truth:
    """Norms of every parameter's gradient; `images` float32 [n, c, h, w], one class per sample.

    The network is promoted to `dtype` and back: its parameters are stored float32, so exactly.
    """
    network = network.to(dtype).eval()
    parameters = dict(network.named_parameters())
    names = {id(parameter): name for name, parameter in parameters.items() if parameter.ndim >= 2}
    weight: dict[str, list[float]] = {name: [] for name in parameters}
    activation: dict[str, list[float]] = {}
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    logits, gradients = [], []
    for image, number in zip(images, classes, strict=True):
        x = image[None].detach().to(dtype).requires_grad_(True)
        with _FirstUses(names) as uses:
            scores = network(x)
        loss = functional.cross_entropy(scores, torch.tensor([number]))
        found = torch.autograd.grad(loss, [*parameters.values(), x], allow_unused=True)
        for name, gradient in zip(parameters, found, strict=False):
            gradient = torch.zeros_like(parameters[name]) if gradient is None else gradient
            weight[name].append(float(gradient.norm()))
            total[name] += gradient
        for name, dy in uses.gradients.items():
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


KINKS = {
    "relu": (0.0,),
    "relu_": (0.0,),
    "relu6": (0.0, 6.0),
    "hardswish": (-3.0, 3.0),
    "hardsigmoid": (-3.0, 3.0),
}
"""Where the derivative jumps, by function; hardtanh's bounds are its operands."""


def _kinks(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Sequence[float]:
    name = getattr(function, "__name__", "")
    if name in ("hardtanh", "hardtanh_"):
        return [*args[1:3], *(kwargs[bound] for bound in ("min_val", "max_val") if bound in kwargs)]
    return KINKS.get(name, ())


class _Margins(TorchFunctionMode):
    """Per sample, how close any rectifier's operand comes to a kink, and a pool's maximum to the second largest."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.smallest = torch.full((samples,), torch.inf, dtype=torch.float64)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for kink in _kinks(function, args, kwargs or {}):
            self._note((args[0].detach() - kink).abs())
        if getattr(function, "__name__", "") == "max_pool2d":
            self._note(_gap(*args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))

    def _note(self, distances: Tensor) -> None:
        self.smallest = torch.minimum(self.smallest, distances.flatten(1).min(1).values)


def _gap(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *others: Any, **more: Any
) -> Tensor:
    """Largest less second largest of every whole window; infinite where they are equal: the first then wins anywhere.

    Dilated windows, of which no family has any, are left out, and so is what `ceil_mode` adds.
    """
    (height, width), (down, right), (above, beside), spread = (
        value if isinstance(value, (tuple, list)) else (value, value)
        for value in (kernel_size, stride or kernel_size, padding, dilation)
    )
    if tuple(spread) != (1, 1):
        return torch.full((len(x), 1), torch.inf, dtype=x.dtype)
    padded = functional.pad(x.detach(), (beside, beside, above, above), value=-torch.inf)
    windows = padded.unfold(2, height, down).unfold(3, width, right).flatten(4)
    first, second = windows.topk(2).values.unbind(-1)
    return torch.where(first == second, torch.inf, first - second)


TOGETHER = 4  # images measured at once: a pool's windows are copied


def clearest(network: nn.Module, images: Tensor, count: int) -> Tensor:
    """The `count` images that stay farthest from every rectifier's kink and pool's tie, by torch in float64 alone.

    Within float32 rounding of one a mask falls either way, in torch's float32 as in ours, and a
    norm may differ by parts in a thousand with neither side wrong.
    """
    network = network.double().eval()
    smallest = []
    for start in range(0, len(images), TOGETHER):
        part = images[start : start + TOGETHER]
        with torch.no_grad(), _Margins(len(part)) as margins:
            network(part.double())
        smallest.append(margins.smallest)
    network.float()
    return images[torch.cat(smallest).argsort(descending=True)[:count].sort().values]
