"""Heads as torch exports them, by both exporters: every norm of the bundle against torch in float64.

The truth is the network without what stands behind its logits, with the loss that the head is found to mean: binary
cross-entropy of independent labels (`BCEWithLogits`, summed), or cross-entropy of the two labels of one score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from export.coverage.architectures.from_torchvision import torchvision_models
from export.coverage.files.exporters import EXPORTERS, by_tracing
from export.coverage.measure import Imported, agreement, classes_of, imported, plain_options
from export.verification.parity import NORM_BOUND
from service.contract.bundle_schema import LabelKindName

LABELS = 5


class Branched(nn.Module):
    """A branch around a convolution, a normalization, and a linear head."""

    def __init__(self, scores: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.side = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.head = nn.Linear(8, scores)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.stem(x)))
        h = h + torch.tanh(self.side(h))
        scores: Tensor = self.head(h.mean((2, 3)))
        return 3 * scores


class Behind(nn.Module):
    """A network and what its author put behind it."""

    def __init__(self, network: nn.Module, ending: Callable[[Tensor], Tensor | tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.network = network
        self.ending = ending

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.ending(self.network(x))


class FromOneScore(nn.Module):
    """The logits [0, x] of the two labels that one score x is for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        score = self.network(x)
        return torch.cat([torch.zeros_like(score), score], dim=1)


@dataclass(frozen=True)
class Head:
    """`ending` stands behind so many scores; the bundle has that kind of labels."""

    ending: Callable[[Tensor], Tensor | tuple[Tensor, ...]]
    kind: LabelKindName = "independent"
    scores: int = LABELS


HEADS = {
    "sigmoids": Head(torch.sigmoid),
    "percent": Head(lambda z: torch.sigmoid(z) * 100),
    "clipped": Head(lambda z: torch.sigmoid(z).clamp(1e-7, 1 - 1e-7)),
    "logarithms": Head(nn.functional.logsigmoid),
    "logits and sigmoids": Head(lambda z: (z, torch.sigmoid(z))),
    "sigmoids and those above one half": Head(lambda z: (torch.sigmoid(z), torch.sigmoid(z) > 0.5)),
    "one sigmoid": Head(torch.sigmoid, "exclusive", 1),
    "one sigmoid without an axis": Head(lambda z: torch.sigmoid(z).squeeze(1), "exclusive", 1),
    "one sigmoid in percent": Head(lambda z: torch.sigmoid(z) * 100, "exclusive", 1),
    "one logit": Head(lambda z: z, "exclusive", 1),
    "one logit and its sigmoid": Head(lambda z: (z, torch.sigmoid(z)), "exclusive", 1),
    "softmax and the class": Head(lambda z: (z.softmax(1), z.argmax(1)), "exclusive"),
    "logits and softmax": Head(lambda z: (z, z.softmax(1)), "exclusive"),
}


QUICK = {("sigmoids", "dynamo"), ("sigmoids", "tracing, batch 1"), ("one sigmoid", "dynamo, batch 1")}
"""Pairs of head and exporter that are tried by default, beside all heads by the older exporter, which is fast."""


def randomised(network: nn.Module) -> nn.Module:
    """Draw every vector and statistic anew: equal ones are stored once by exporters, and cannot be told apart."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.mul_(torch.rand_like(buffer) + 0.5)
    return network.eval()


def labels_of(kind: LabelKindName, samples: int, labels: int) -> list[int] | list[list[int]]:
    """Classes, or rows of which the first has no label, the second all and the third every second one."""
    if kind == "exclusive":
        return classes_of(samples, labels)
    rows = [[0] * labels, [1] * labels, [1 - at % 2 for at in range(labels)]]
    return rows[-samples:]


def assert_every_norm_is_torch_s(found: Imported, network: nn.Module, size: int, samples: int) -> None:
    images = torch.randn(samples, 3, size, size, generator=torch.Generator().manual_seed(7))
    labels = labels_of(found.bundle.label_kind, samples, len(found.bundle.labels))
    measured = agreement(found, network, images, labels)
    assert not measured.by_nodes, "every layer and parameter is compared with the network's own"
    assert not measured.unproved
    assert {"weight", "activation", "bias", "batch", "input"} <= set(measured.differences)
    assert max(measured.differences.values()) <= NORM_BOUND["float32"], measured.differences


PAIRS = [
    pytest.param(head, exporter, marks=[] if (head, exporter) in QUICK or exporter == "tracing" else pytest.mark.slow)
    for head in HEADS
    for exporter in EXPORTERS
]


@pytest.mark.parametrize(("head", "exporter"), PAIRS)
def test_every_norm_of_an_exported_head_is_torch_s(tmp_path: Path, head: str, exporter: str) -> None:
    chosen = HEADS[head]
    torch.manual_seed(5)
    network = randomised(Branched(chosen.scores))
    EXPORTERS[exporter](Behind(network, chosen.ending).eval(), torch.randn(2, 3, 9, 9), tmp_path / "model.onnx")
    found = imported(tmp_path / "model.onnx", plain_options(max(chosen.scores, 2)), tmp_path / "bundles")
    assert found.bundle.label_kind == chosen.kind
    judged = FromOneScore(network) if chosen.scores == 1 else network
    for samples in (1, 3):
        assert_every_norm_is_torch_s(found, judged.eval(), 9, samples)


@pytest.mark.parametrize("head", ["sigmoids", "softmax and the class"])
def test_every_norm_behind_a_zip_map_is_torch_s(tmp_path: Path, head: str) -> None:
    """skl2onnx's ending: a map from label to score for every image."""
    torch.manual_seed(5)
    network = randomised(Branched(LABELS))
    by_tracing(Behind(network, HEADS[head].ending).eval(), torch.randn(2, 3, 9, 9), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    scores = model.graph.output[0].name
    labels = [f"class {number}" for number in range(LABELS)]
    model.graph.node.append(
        onnx.helper.make_node("ZipMap", [scores], ["maps"], domain="ai.onnx.ml", classlabels_strings=labels)
    )
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    kind = onnx.helper.make_sequence_type_proto(
        onnx.helper.make_map_type_proto(
            onnx.TensorProto.STRING, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
        )
    )
    model.graph.output[0].CopyFrom(onnx.helper.make_value_info("maps", kind))
    onnx.save(model, tmp_path / "model.onnx")
    found = imported(tmp_path / "model.onnx", plain_options(LABELS), tmp_path / "bundles")
    assert found.bundle.label_kind == HEADS[head].kind
    assert_every_norm_is_torch_s(found, network, 9, 3)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["dynamo", "tracing"])
@pytest.mark.parametrize("architecture", ["resnet18", "vit", "convnext_atto"])
def test_every_norm_of_a_known_network_with_sigmoids_is_torch_s(
    tmp_path: Path, architecture: str, exporter: str
) -> None:
    torchvision_models()
    timm = pytest.importorskip("timm")
    torch.manual_seed(1)
    if architecture == "vit":
        sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 96, "depth": 4, "num_heads": 3}
        network = timm.models.vision_transformer.VisionTransformer(num_classes=LABELS, **sizes)
    else:
        network = timm.create_model(architecture, num_classes=LABELS)
    randomised(network)
    EXPORTERS[exporter](Behind(network, torch.sigmoid).eval(), torch.randn(2, 3, 64, 64), tmp_path / "model.onnx")
    found = imported(tmp_path / "model.onnx", plain_options(LABELS), tmp_path / "bundles")
    assert found.bundle.label_kind == "independent"
    for samples in (1, 3):
        assert_every_norm_is_torch_s(found, network, 64, samples)
