"""Choose images on which float32 and float64 take the same branch of every rectifier and pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from export.coverage.truth.precision import default_precision

KINKS = {
    "relu": (0.0,),
    "relu_": (0.0,),
    "leaky_relu": (0.0,),
    "leaky_relu_": (0.0,),
    "prelu": (0.0,),
    "abs": (0.0,),
    "relu6": (0.0, 6.0),
    "hardswish": (-3.0, 3.0),
    "hardsigmoid": (-3.0, 3.0),
}
"""Operands at which a function's derivative jumps. Those of hardtanh and clamp are their own arguments."""
BATCH_SIZE = 4
"""Images measured at once; few, because the windows of a pool are copied."""


def _kinks(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Sequence[float]:
    name = getattr(function, "__name__", "")
    if name in ("hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_max"):
        bounds = [*args[1:3], *(kwargs[bound] for bound in ("min_val", "max_val", "min", "max") if bound in kwargs)]
        return [bound for bound in bounds if isinstance(bound, (int, float))]
    return KINKS.get(name, ())


class _Margins(TorchFunctionMode):
    """Smallest distance per sample of any rectifier's operand to a kink, and of a pool's maximum to the second largest.

    It watches every call of a torch function inside its block.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.smallest = torch.full((samples,), torch.inf, dtype=torch.float64)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for kink in _kinks(function, args, kwargs or {}):
            distances = (args[0].detach() - kink).abs()
            # Zero in any precision is no near miss: a rectifier twice.
            self._note(torch.where(distances == 0, torch.inf, distances), args[0])
        if getattr(function, "__name__", "") == "max_pool2d":
            self._note(_gap(*args, **(kwargs or {})), args[0])
        return function(*args, **(kwargs or {}))

    def _note(self, distances: Tensor, operand: Tensor) -> None:
        """Take distances [rows, …], in which each sample has equally many rows (windows, heads), or all share them.

        They count in parts of the operand's mean size, by which its rounding goes. Whole numbers are exact.
        """
        if not operand.is_floating_point() or not distances.ndim or len(distances) % len(self.smallest):
            return
        distances = distances.reshape(len(self.smallest), -1) / operand.detach().abs().mean()
        self.smallest = torch.minimum(self.smallest, distances.min(1).values)


def _gap(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *others: Any,
    **more: Any,
) -> Tensor:
    """Subtract the second largest from the largest value of every window of a pool.

    Where they are equal the gap is infinite: the first of them wins in any precision. Dilated windows, which no
    listed architecture has, are left out.
    """
    (height, width), (down, right), (above, beside), spread = (
        value if isinstance(value, (tuple, list)) else (value, value)
        for value in (kernel_size, stride or kernel_size, padding, dilation)
    )
    if tuple(spread) != (1, 1):
        return torch.full((len(x), 1), torch.inf, dtype=x.dtype)
    right_more, below_more = (right - 1, down - 1) if ceil_mode else (0, 0)
    sides = (beside, beside + right_more, above, above + below_more)
    padded = functional.pad(x.detach(), sides, value=-torch.inf)
    if padded.shape[2] < height or padded.shape[3] < width:
        return torch.full((len(x), 1), torch.inf, dtype=x.dtype)
    windows = padded.unfold(2, height, down).unfold(3, width, right).flatten(4)
    first, second = windows.topk(2).values.unbind(-1)
    return torch.where(first == second, torch.inf, first - second)


def clearest(network: nn.Module, images: Tensor, count: int) -> Tensor:
    """Choose the `count` images that stay farthest from every kink and tie in torch's float64 run.

    Closer than float32 resolves, a rectifier's mask falls either way, in torch's float32 as in ours. A
    norm may then differ by parts in a thousand, with neither side wrong.
    """
    network = network.double().eval()
    smallest = []
    for start in range(0, len(images), BATCH_SIZE):
        part = images[start : start + BATCH_SIZE]
        with torch.no_grad(), default_precision(torch.float64), _Margins(len(part)) as margins:
            network(part.double())
        smallest.append(margins.smallest)
    network.float()
    return images[torch.cat(smallest).argsort(descending=True)[:count].sort().values]
