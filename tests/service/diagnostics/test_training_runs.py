"""The service's verdict on each network agrees with what a training run in torch shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.bundles.networks import settled
from bench.verdicts.corpus import convolutional
from bench.verdicts.judging import bundle_of, diagnosis_of
from bench.verdicts.shattered import untrained_path
from export.phenomena.shipped import network as in_torch
from export.writing.bundle import read_bundle_and_graphs
from service.diagnostics.shattering.measures import analyse
from service.diagnostics.shattering.path import straight_path
from service.diagnostics.shattering.points import POINTS
from service.diagnostics.shattering.verdict import judge_path
from tests.service.diagnostics.sick_networks import IMAGES, LABELS, SICK, as_onnx

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"
STEPS = 8
LEARNING_RATE = 0.01


def layers_of(network: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def row_norms(tensor: torch.Tensor | None) -> torch.Tensor:
    """Return the norm of each output channel's weights, [channels]."""
    assert tensor is not None
    norms: torch.Tensor = tensor.detach().flatten(1).norm(dim=1)
    return norms


def relative_sizes(network: nn.Module, logits: torch.Tensor) -> list[float]:
    """√Σ_c(‖W_c‖·‖dW_c‖)² / ‖dL/dlogits‖ of the batch, layer by layer, from what autograd left in `.grad`."""
    assert logits.grad is not None
    scale = float(logits.grad.norm())
    return [
        float((row_norms(layer.weight) * row_norms(layer.weight.grad)).norm()) / scale for layer in layers_of(network)
    ]


def conclusion_of_a_training_run(network: nn.Module, images: np.ndarray, labels: np.ndarray, steps: int) -> str:
    """Train by plain gradient descent and say in one word what the gradients and rectifiers were like."""
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
    peaks: dict[nn.Module, torch.Tensor] = {}

    def remember(module: nn.Module, _: object, output: torch.Tensor) -> None:
        highest = output.detach().transpose(0, 1).flatten(1).max(dim=1).values
        peaks[module] = torch.maximum(peaks.get(module, highest), highest)

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(remember)
    optimiser = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    seen = []
    for _ in range(steps):
        optimiser.zero_grad()
        logits = network(inputs)
        logits.retain_grad()
        torch.autograd.backward(functional.cross_entropy(logits, targets))
        seen.append(relative_sizes(network, logits))
        optimiser.step()
    sizes = np.array(seen)
    if not np.isfinite(sizes).all() or np.median(sizes) > 1e3:
        return "exploding"
    if np.median(sizes[:, 0] / sizes[:, -1]) < 1 / 30:
        return "vanishing"
    if any(float((peak <= 0).float().mean()) >= 0.5 for peak in peaks.values()):
        return "dead"
    return "healthy"


@pytest.mark.parametrize("truth", SICK)
def test_a_training_run_in_torch_and_the_service_come_to_the_same_conclusion(truth: str) -> None:
    torch.manual_seed(0)
    network = SICK[truth]()
    before = diagnosis_of(*bundle_of(as_onnx(network)), IMAGES, LABELS).verdict.state
    assert conclusion_of_a_training_run(network, IMAGES, LABELS, STEPS) == before == truth
    if all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        assert diagnosis_of(*bundle_of(as_onnx(network)), IMAGES, LABELS).verdict.state == truth


@pytest.mark.parametrize("name", ["resnet20", pytest.param("resnet56", marks=pytest.mark.slow)])
def test_a_shipped_residual_network_trained_on_in_torch_is_healthy_to_both(name: str) -> None:
    bundle, graphs = read_bundle_and_graphs(BUNDLES / name)
    assert diagnosis_of(bundle, graphs, IMAGES, LABELS).verdict.state == "healthy"
    network = in_torch(BUNDLES, bundle).train()
    assert conclusion_of_a_training_run(network, IMAGES, LABELS, 2) == "healthy"


@pytest.mark.slow
@pytest.mark.parametrize(("family", "shattered"), [("plain", True), ("residual", False)])
def test_autograd_in_torch_finds_the_same_shattering(family: str, shattered: bool) -> None:
    torch.manual_seed(0)
    network = settled(convolutional(family, 56, "batch"), torch.from_numpy(IMAGES))
    path = torch.from_numpy(straight_path(IMAGES[3], IMAGES[11], POINTS)).requires_grad_()
    labels = torch.zeros(len(path), dtype=torch.int64)
    torch.autograd.backward(functional.cross_entropy(network(path), labels, reduction="sum"))
    assert path.grad is not None
    by_torch = analyse(path.grad.numpy().astype(np.float64))
    ours = untrained_path(family, 56, IMAGES)
    assert ours.spectral_exponent == pytest.approx(by_torch.spectral_exponent, abs=0.1)
    assert (judge_path(by_torch).state == "shattered") == shattered
    assert (judge_path(ours).state == "shattered") == shattered
