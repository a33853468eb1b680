"""Strangers' architectures through torch's exporters, against torch autograd; all of them: `make coverage`."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

if any(find_spec(package) is None for package in ("timm", "transformers", "pytorchcv", "vit_pytorch", "torchvision")):
    pytest.skip("the packages of the extra `coverage` are not installed", allow_module_level=True)

from export.coverage.architectures.architecture import build, images
from export.coverage.architectures.listed import ARCHITECTURES, SAMPLED
from export.coverage.exact import differences_in_float64
from export.coverage.files.exporters import EXPORTERS
from export.coverage.measure import agreement, imported, plain_options
from export.coverage.rows import architecture_row, status
from export.coverage.truth.clearest import clearest
from export.verification.parity import NORM_BOUND

pytestmark = pytest.mark.filterwarnings("ignore")

DOZEN = (
    ("timm/test_vit", "dynamo"),
    pytest.param("timm/mobilenetv3_small_050", "tracing", marks=pytest.mark.slow),
    pytest.param("timm/starnet_s050", "tracing", marks=pytest.mark.slow),
    ("timm/swin_tiny_patch4_window7_224", "tracing"),
    ("transformers/Beit", "tracing"),
    ("transformers/ConvNextV2", "dynamo"),
    pytest.param("transformers/MobileViT", "tracing", marks=pytest.mark.slow),
    ("pytorchcv/nin_cifar10", "tracing"),
    ("pytorchcv/shufflenetv2_wd2", "tracing"),
    ("torchvision/SwinTransformer", "tracing"),
    ("vit_pytorch/cait.CaiT", "tracing"),
    ("vit_pytorch/simple_vit.SimpleViT", "dynamo"),
)


def row_of(key: str, exporter: str, folder: Path) -> dict[str, object]:
    architecture = ARCHITECTURES[key]
    path = folder / "model.onnx"
    EXPORTERS[exporter](build(architecture), images(architecture, 2), path)
    return architecture_row(key, path, serves=False)[0]


@pytest.mark.parametrize(("key", "exporter"), DOZEN, ids=lambda value: value)
def test_every_norm_of_an_imported_architecture_is_torch_s(key: str, exporter: str, tmp_path: Path) -> None:
    row = row_of(key, exporter, tmp_path)
    assert row["status"] == "right", row


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("key", SAMPLED)
def test_every_exporter_and_a_batch_of_one(key: str, exporter: str, tmp_path: Path) -> None:
    row = row_of(key, exporter, tmp_path)
    assert row["status"] == "right", row


def test_the_list_is_long_and_fixed() -> None:
    packages = Counter(architecture.package for architecture in ARCHITECTURES.values())
    assert packages.keys() == {"timm", "transformers", "pytorchcv", "vit_pytorch", "torchvision"}
    assert packages.total() >= 250
    assert min(packages.values()) >= 15


def test_a_network_is_the_same_whenever_it_is_built() -> None:
    """A cached file must be of the network that is built to compare it with."""
    architecture = ARCHITECTURES["timm/mobilenetv3_small_050"]
    first, second = build(architecture).state_dict(), build(architecture).state_dict()
    assert all((first[name] == second[name]).all() for name in first)


def test_no_parameter_is_all_one_number() -> None:
    network = build(ARCHITECTURES["transformers/ViT"])
    assert not any(parameter.eq(parameter.flatten()[0]).all() for parameter in network.parameters())


def test_a_wrong_gradient_is_found(tmp_path: Path) -> None:
    """The network is changed after its export: its first weights change sign, so nearly every gradient is another."""
    architecture = ARCHITECTURES["pytorchcv/nin_cifar10"]
    network, path = build(architecture), tmp_path / "model.onnx"
    EXPORTERS["tracing"](network, images(architecture, 2), path)
    found = imported(path, plain_options(10), tmp_path)
    batch = clearest(network, images(architecture, 8), 2)
    first = next(network.parameters())
    first.data.neg_()
    measurement = agreement(found, network, batch, [0, 1])
    assert status(measurement) == "wrong"
    assert {"weight", "input", "activation"} <= measurement.exceeding.keys()


def test_the_graphs_of_a_file_are_exact_in_float64(tmp_path: Path) -> None:
    """The network has weights that nodes compute, which are compared too."""
    architecture = ARCHITECTURES["vit_pytorch/normalized_vit.nViT"]
    path = tmp_path / "model.onnx"
    EXPORTERS["tracing"](build(architecture), images(architecture, 2), path)
    found = imported(path, plain_options(10), tmp_path)
    differences = differences_in_float64(found, images(architecture, 2), [0, 1])
    assert {"weight", "input", "activation", "batch", "other"} <= differences.keys()
    assert max(differences.values()) <= NORM_BOUND["float64"]
