"""On a GPU: the graph takes the same steps as single kernels do, and a run resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.networks.network import Architecture
from models.training.cuda_graph import Replayed
from models.training.recipe import Recipe
from models.training.train import Training
from tests.models.small_data import data_set

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RECIPE = Recipe(epochs=2, batch_size=6, learning_rate=0.01, small_size=6, small_until=0.5, precision="float32")


def weights(folder: Path, recipe: Recipe) -> dict[str, torch.Tensor]:
    data = data_set(per_class=40)
    Training("resnet8", Architecture("residual", 8), recipe, data, "squares", folder, device="cuda").run()
    return load_file(folder / "weights.safetensors")


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, optimizer="muon", muon_learning_rate=0.01),
        replace(RECIPE, mirror="alternate", label_smoothing=0.1, averaging=0.9, clip=1.0),
    ],
)
def test_replayed_steps_are_those_of_single_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], recipe: Recipe
) -> None:
    replayed = weights(tmp_path / "graph", recipe)
    assert "no CUDA graph" not in capfd.readouterr().out

    def single(self: Any) -> None:
        self._take()

    monkeypatch.setattr(Replayed, "__call__", single)
    for name, value in weights(tmp_path / "single", recipe).items():
        torch.testing.assert_close(replayed[name], value, rtol=1e-2, atol=1e-3)
