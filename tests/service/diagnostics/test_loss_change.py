"""Which layers changed the loss: against torch in float64, and against the change that is measured."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from service.contract.arrays import Array
from service.contract.label_kinds import Labels
from service.contract.runtime.opening import Runtime
from service.diagnostics.loss_change.changed import loss_change
from service.diagnostics.loss_change.result import LossChange, NotDivided
from tests.export.gradient.networks.torch_networks import catalogued, randomised
from tests.service.diagnostics.versions import CLASSES, Smooth, written

IMAGES, BATCH = 24, 10


def batches() -> list[tuple[Array, Labels]]:
    random = np.random.default_rng(0)
    images = random.normal(size=(IMAGES, 3, 32, 32)).astype(np.float32)
    labels = random.integers(0, CLASSES, IMAGES)
    return [(images[start:][:BATCH], labels[start:][:BATCH]) for start in range(0, IMAGES, BATCH)]


def changed(network: nn.Module, names: Sequence[str], share: float) -> nn.Module:
    """Return a copy in which tensors of these names have some noise."""
    other, generator = copy.deepcopy(network), torch.Generator().manual_seed(3)
    for name, tensor in (*other.named_parameters(), *other.named_buffers()):
        if name in names:
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.data += share * tensor.abs().mean() * (noise.abs() if name.endswith("var") else noise)
    return other


def divided(old: nn.Module, new: nn.Module, folder: Path) -> LossChange:
    found = loss_change(written(old, folder / "old"), written(new, folder / "new"), Runtime("cpu"), batches)
    assert isinstance(found, LossChange)
    return found


@pytest.fixture(scope="module")
def smooth() -> nn.Module:
    torch.manual_seed(0)
    return randomised(Smooth())


def test_the_parts_are_those_of_torch_in_float64(tmp_path: Path) -> None:
    old = catalogued("resnet8")
    names = [name for name, parameter in old.named_parameters() if parameter.dim() > 1]
    new = changed(old, names, 0.05)
    found = divided(old, new, tmp_path)
    expected = dict.fromkeys(names, 0.0)
    line = copy.deepcopy(old).double()
    ends = [dict(network.double().named_parameters()) for network in (copy.deepcopy(old), copy.deepcopy(new))]
    images, labels = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*batches(), strict=True))
    points, weights = np.polynomial.legendre.leggauss(found.steps)
    for point, weight in zip(points, weights, strict=True):
        for name, parameter in line.named_parameters():
            parameter.data = torch.lerp(ends[0][name].data, ends[1][name].data, 0.5 * (1 + point))
        line.zero_grad()
        torch.autograd.backward(functional.cross_entropy(line(images.double()), labels))
        for name in names:
            gradient, difference = line.get_parameter(name).grad, ends[1][name].data - ends[0][name].data
            assert gradient is not None
            expected[name] += 0.5 * weight * float((gradient * difference).sum())
    parts = {f"{part.name}.weight": part.change for part in found.parts if part.kind == "layer"}
    largest = max(map(abs, expected.values()))
    assert parts == pytest.approx(expected, abs=1e-3 * largest)


CHANGES = {
    "a convolution": ["first.weight"],
    "its bias": ["first.bias"],
    "a normalization that is folded": ["folded.weight", "folded.bias", "folded.running_mean", "folded.running_var"],
    "groups": ["grouped.weight"],
    "a normalization of its own": ["apart.weight", "apart.bias"],
    "its statistics": ["apart.running_mean", "apart.running_var"],
    "a transposed convolution": ["up.weight", "up.bias"],
    "a weight that is used twice": ["shared.weight", "shared.bias"],
    "a layer normalization": ["norm.weight", "norm.bias"],
    "a product of tokens": ["tokens.weight", "tokens.bias"],
    "a single number": ["scale"],
    "the last layer": ["head.weight", "head.bias"],
}
COUNTED_FOR = {"apart": "other", "norm": "other", "scale": "rest"}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_has_all_of_the_measured_change(smooth: nn.Module, what: str, tmp_path: Path) -> None:
    found = divided(smooth, changed(smooth, CHANGES[what], 0.3), tmp_path)
    assert abs(found.measured) > 1e-5
    assert found.complete
    assert found.error == pytest.approx(0, abs=max(1e-2 * abs(found.measured), 2e-6))
    module = CHANGES[what][0].split(".")[0]
    assert {part.kind for part in found.by_size} == {COUNTED_FOR.get(module, "layer")}
    assert all(part.weight_change > 0 for part in found.by_size)


def test_what_was_changed_everywhere_adds_up(smooth: nn.Module, tmp_path: Path) -> None:
    found = divided(smooth, changed(smooth, [name for names in CHANGES.values() for name in names], 0.2), tmp_path)
    assert found.complete
    assert found.steps <= 8
    assert {part.kind for part in found.by_size} == {"layer", "other", "rest"}


def test_identical_weights_changed_nothing(smooth: nn.Module, tmp_path: Path) -> None:
    found = divided(smooth, copy.deepcopy(smooth), tmp_path)
    assert [part.change for part in found.parts] == [0.0] * len(found.parts)
    assert found.measured == 0
    assert found.complete
    assert found.by_size == ()


def test_a_version_in_which_a_loss_is_not_finite_is_not_divided(smooth: nn.Module, tmp_path: Path) -> None:
    broken = copy.deepcopy(smooth)
    broken.get_parameter("head.weight").data[0, 0] = float("nan")
    found = loss_change(written(smooth, tmp_path / "old"), written(broken, tmp_path / "new"), Runtime("cpu"), batches)
    assert found == NotDivided("the loss is not finite for some of the images")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("plain8", "their layers are alike"),
        ("resnet20", "OLD has 8 layers and NEW 20"),
    ],
)
def test_another_architecture_is_said_to_be_another(other: str, reason: str, tmp_path: Path) -> None:
    old, new = (written(catalogued(name), tmp_path / name) for name in ("resnet8", other))
    found = loss_change(old, new, Runtime("cpu"), batches)
    assert isinstance(found, NotDivided)
    assert reason in found.reason


def test_two_exports_of_one_architecture_have_one_structure(tmp_path: Path) -> None:
    first, second, other = (
        written(catalogued(name, seed), tmp_path / f"{name}{seed}").bundle.graphs["loss_slopes"]
        for name, seed in (("resnet8", 0), ("resnet8", 1), ("plain8", 0))
    )
    assert first.structure == second.structure != other.structure


def test_labels_that_are_not_known_stay_those_that_the_old_version_predicts(tmp_path: Path) -> None:
    old = catalogued("resnet8")
    pair = written(old, tmp_path / "old"), written(changed(old, ["classifier.weight"], 1.0), tmp_path / "new")

    def unlabelled() -> list[tuple[Array, Labels]]:
        return [(images, np.full(len(images), -1)) for images, _ in batches()]

    session = Runtime("cpu").open(pair[0].directory / "forward.onnx")

    def predicted() -> list[tuple[Array, Labels]]:
        return [(images, session.run({"input": images})["logits"].argmax(axis=1)) for images, _ in batches()]

    first, second = (loss_change(*pair, Runtime("cpu"), given) for given in (unlabelled, predicted))
    assert first == second
