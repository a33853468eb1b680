"""torch's modules as its exporters write them: what no operator says by itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from export.coverage.exporters import EXPORTERS
from export.coverage.measure import BOUND, measure
from export.coverage.zoo import Family

SIZE = 16


class Picked(nn.Module):
    """Channels by a list of numbers, one of them twice."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, [0, 2, 2, 5]]


class LastChannels(nn.Module):
    """Channels last and back, then pooled to one position: torch.export leaves an `as_strided`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(x.permute(0, 2, 3, 1))
        return nn.functional.adaptive_avg_pool2d(mixed.permute(0, 3, 1, 2), 1)


class Attention(nn.Module):
    """Positions attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        answer: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return answer


MODULES: dict[str, Callable[[], nn.Module]] = {
    "local response norm": lambda: nn.LocalResponseNorm(5),
    "group norm": lambda: nn.GroupNorm(4, 8),
    "adaptive average pool": lambda: nn.AdaptiveAvgPool2d(4),
    "adaptive maximum pool": lambda: nn.AdaptiveMaxPool2d(4),
    "uneven adaptive pool": lambda: nn.AdaptiveAvgPool2d(5),
    "picked channels": Picked,
    "last channels": LastChannels,
    "attention": Attention,
    "bilinear upsampling": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "circular convolution": lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"),
    "pixel shuffle": lambda: nn.PixelShuffle(2),
}
REFUSED_BY_THE_EXPORTER = {("uneven adaptive pool", "tracing"), ("uneven adaptive pool", "tracing, batch 1")}


def around(module: nn.Module) -> nn.Module:
    """A convolution before it, a linear layer behind."""
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), module)
    with torch.no_grad():
        width = body(torch.zeros(1, 3, SIZE, SIZE)).flatten(1).shape[1]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(width, 10))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("onnxscript") is None, reason="the newer exporter needs onnxscript")
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", MODULES)
def test_a_module_s_norms_are_torch_s(name: str, exporter: str) -> None:
    if (name, exporter) in REFUSED_BY_THE_EXPORTER:
        pytest.skip("torch's older exporter refuses it")
    measured = measure(Family(name, lambda: around(MODULES[name]()), SIZE), EXPORTERS[exporter])
    assert not measured.unmatched
    assert measured.worst <= BOUND
