"""On a GPU: the graph takes the same steps as single kernels do, a run resumes, and memory is freed after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.networks.network import Architecture, Network
from models.training.cuda_graph import Replayed
from models.training.recipe import SGD, Recipe
from models.training.train import Training
from tests.models.small_data import data_set
from tests.models.stopped_training import stopped_after

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ARCHITECTURE = Architecture("residual", 8)
PLAIN = replace(SGD, epochs=2, batch_size=6, learning_rate=0.01, small_size=6, small_until=0.5, precision="float32")
RECIPES = (
    PLAIN,
    replace(PLAIN, precision="bfloat16"),
    replace(PLAIN, optimizer="muon", muon_learning_rate=0.01),
    replace(PLAIN, mirror="alternate", label_smoothing=0.1, averaging=0.9, clip=1.0),
)
ROUNDING = 0.2
"""Two runs on a GPU end this far from each other at most, as a share of the way from the first weights."""


def training(folder: Path, recipe: Recipe) -> Training:
    return Training("resnet8", ARCHITECTURE, recipe, data_set(per_class=40), "squares", folder, device="cuda")


def weights(folder: Path) -> Tensor:
    found = load_file(folder / "weights.safetensors")
    return torch.cat([found[name].flatten() for name, _ in Network(ARCHITECTURE, 3).named_parameters()])


def require_alike(first: Path, second: Path) -> None:
    torch.manual_seed(0)
    start = torch.cat([value.detach().flatten() for value in Network(ARCHITECTURE, 3).parameters()])
    moved = (weights(first) - start).norm()
    assert moved > 0
    assert (weights(first) - weights(second)).norm() < ROUNDING * moved


@pytest.mark.parametrize("recipe", RECIPES)
def test_replayed_steps_are_those_of_single_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], recipe: Recipe
) -> None:
    training(tmp_path / "graph", recipe).run()
    assert "no CUDA graph" not in capfd.readouterr().out

    def single(self: Any) -> None:
        self._take()

    monkeypatch.setattr(Replayed, "__call__", single)
    training(tmp_path / "single", recipe).run()
    require_alike(tmp_path / "graph", tmp_path / "single")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_that_is_stopped_goes_on_to_about_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    training(tmp_path / "whole", recipe).run()
    with stopped_after(13, monkeypatch):
        training(tmp_path / "killed", recipe).run()
    training(tmp_path / "killed", recipe).run()
    require_alike(tmp_path / "whole", tmp_path / "killed")


def test_a_run_that_is_over_frees_what_it_held(tmp_path: Path) -> None:
    training(tmp_path / "first", PLAIN).run()  # cuDNN and cuBLAS keep workspaces of their own
    before = torch.cuda.memory_allocated()
    for name in "abc":
        training(tmp_path / name, PLAIN).run()
    assert torch.cuda.memory_allocated() <= before + 2**20
