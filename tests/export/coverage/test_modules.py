"""torch's modules as its exporters write them: what no operator says by itself."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.coverage.architectures.architecture import Architecture, build, images
from export.coverage.files.exporters import EXPORTERS
from export.coverage.measure import SAMPLES, agreement, classes_of, imported, plain_options
from export.coverage.rows import status
from export.coverage.truth.clearest import clearest

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


class Windows(nn.Module):
    """A convolution, a norm and a layer on windows that are merged into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm1d(8)
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        samples = x.shape[0]
        windows = x.reshape(samples, 8, 2, 8, 16).transpose(1, 2).reshape(-1, 8, 8, 16)
        rows = self.conv(windows).tanh().permute(0, 2, 3, 1)
        means: Tensor = self.norm(self.linear(rows).reshape(-1, 8)).reshape(samples, -1, 8).mean(1)
        return means


class HeadsByEinsum(nn.Module):
    """Attention over heads that are merged into the batch."""

    def forward(self, x: Tensor) -> Tensor:
        heads = x.flatten(2).transpose(1, 2).reshape(-1, 256, 2, 4).transpose(1, 2).reshape(-1, 256, 4)
        scores = torch.einsum("bid,bjd->bij", heads, heads).softmax(-1)
        return torch.einsum("bij,bjd->bid", scores, heads).reshape(-1, 2, 256, 4).mean(2)


class PositionBias(nn.Module):
    """A trained network of constant coordinates is added to the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 3))
        rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        self.register_buffer("places", torch.stack((rows, columns), -1) / 8 - 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.mean(3).transpose(1, 2)
        scores = tokens @ tokens.transpose(1, 2) + self.network(self.places).permute(2, 0, 1).sigmoid().sum(0)
        answer: Tensor = scores.softmax(-1) @ tokens
        return answer


class Assigned(nn.Module):
    """Some columns are overwritten in place."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.randn(15))

    def forward(self, x: Tensor) -> Tensor:
        written = x * 2
        written[:, :, :, 1:] = x[:, :, :, 1:] * self.slope
        return written


class Blurred(nn.Module):
    """A fixed filter before every second position."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filter", (row[:, None] * row)[None, None].repeat(8, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x.relu(), self.filter, stride=2, padding=1, groups=8)


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
    "windows in the batch": Windows,
    "heads by einsum": HeadsByEinsum,
    "position bias": PositionBias,
    "assigned in place": Assigned,
    "blurred": Blurred,
    "folded windows": lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Fold(16, 2, stride=2), nn.Tanh()),
}
REFUSED_BY_THE_EXPORTER = {
    (name, exporter)
    for name in ("uneven adaptive pool", "folded windows")
    for exporter in ("tracing", "tracing, batch 1")
}
FIXED = {"blurred": 2}
"""Layers in all, where the module has a filter that is none."""


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
def test_a_module_s_norms_are_torch_s(name: str, exporter: str, tmp_path: Path) -> None:
    if (name, exporter) in REFUSED_BY_THE_EXPORTER:
        pytest.skip("torch's older exporter refuses it")
    architecture = Architecture("here", name, SIZE, lambda *_: around(MODULES[name]()))
    network = build(architecture)
    batch = clearest(network, images(architecture, 24), SAMPLES)
    EXPORTERS[exporter](network, batch, tmp_path / "model.onnx")
    found = imported(tmp_path / "model.onnx", plain_options(10), tmp_path)
    measured = agreement(found, network, batch, classes_of(SAMPLES, 10))
    assert status(measured) == "right", measured
    assert measured.layers == FIXED.get(name, measured.layers)
