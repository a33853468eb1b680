"""Small runs over seeds: reduced data, one result per net and seed, finished runs kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.__main__ import main
from models.phenomena.seeds import reduced
from models.training.train import Progress, Training
from tests.models.small_data import data_set, files, write_folder


def test_reduced_images_are_means_of_four_pixels_and_keep_every_class() -> None:
    whole = data_set(per_class=4)
    small = reduced(whole, images=6)
    assert small.train.images.shape == (6, 4, 4, 3)
    assert set(small.train.classes) == {0, 1, 2}
    expected = np.rint(whole.train.images[0, :2, :2].mean(axis=(0, 1)))
    np.testing.assert_array_equal(small.train.images[0, 0, 0], expected)


def test_every_net_and_seed_has_a_result_and_finished_runs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training itself is tested elsewhere; here no step is taken."""
    trained: list[str] = []

    def no_steps(self: Training) -> None:
        trained.append(f"{self.name}-{self.seed}")
        self.progress = Progress(epoch=self.recipe.epochs)

    monkeypatch.setattr(Training, "train_epoch", no_steps)
    monkeypatch.setattr(Training, "evaluate", lambda self, _: (0.0, 0.25 + self.seed))
    data = write_folder(tmp_path / "data", files())
    options = ["--data", str(data), "--docs", str(tmp_path), "--out", str(tmp_path / "runs"), "--seeds", "2"]
    for _ in range(2):
        assert main(["seeds", *options]) == 0
    assert sorted(trained) == sorted(f"{m}{d}-{s}" for m in ("plain", "resnet") for d in (20, 56) for s in (0, 1))
    written = json.loads((tmp_path / "figures/degradation-seeds.json").read_text())
    assert len(written["runs"]) == 8
    assert {"model": "plain56", "seed": 1, "train_error": 1.25} in written["runs"]
    assert "6 images of data at 4 × 4 pixels" in written["setup"]
    assert main(["seeds", *options, "--epochs", "3"]) == 2
    assert "belongs to a different run" in capsys.readouterr().err
