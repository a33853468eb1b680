"""Training with the same seed gives the same weights, interrupted or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.__main__ import main
from models.networks.network import Architecture
from models.training.augmentation import augment, channel_statistics
from models.training.recipe import Recipe
from models.training.train import Training
from tests.models.small_data import data_set, files, write_folder

TINY = Recipe(epochs=2, batch_size=6, small_size=6, small_until=0.5, crop_padding=1, precision="float32")
ARCHITECTURE = Architecture("residual", 8)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def training(folder: Path, seed: int = 0, recipe: Recipe = TINY) -> Training:
    return Training("resnet8", ARCHITECTURE, recipe, data_set(), "squares", folder, seed)


def same_weights(first: Path, second: Path) -> bool:
    weights, others = (load_file(folder / "weights.safetensors") for folder in (first, second))
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def test_one_seed_gives_one_set_of_weights_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        training(tmp_path / name, seed).run()
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert not same_weights(tmp_path / "a", tmp_path / "c")


def test_the_record_says_what_was_done(tmp_path: Path) -> None:
    record = training(tmp_path).run()
    assert json.loads((tmp_path / "training.json").read_text()) == record
    assert record["data_set"] == "squares"
    assert record["labels"] == ["blue", "green", "red"]
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
    assert [epoch["image_size"] for epoch in record["epochs"]] == [6, 8]
    assert record["recipe"]["learning_rate"] == TINY.learning_rate
    norms = record["epochs"][0]["gradient_norms"]
    assert len(norms) == 8
    assert all(norm > 0 for norm in norms.values())
    assert not (tmp_path / "checkpoint.pt").exists()


def test_it_learns_what_can_be_learned(tmp_path: Path) -> None:
    recipe = Recipe(epochs=12, batch_size=6, learning_rate=0.05, small_until=0, crop_padding=0, precision="float32")
    assert training(tmp_path, recipe=recipe).run()["final"]["train_error"] == 0


class _Killed(Exception):
    pass


@pytest.mark.parametrize("steps_before", [1, 3, 4, 5])
def test_a_run_stopped_at_any_step_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_before: int
) -> None:
    """Four steps make an epoch; a checkpoint is written at every second one."""
    monkeypatch.setattr("models.training.train.STEPS_BETWEEN_CHECKPOINTS", 2)
    whole = training(tmp_path / "whole").run()
    interrupted, left, step = training(tmp_path / "killed"), steps_before, Training._train_step

    def stops(self: Training, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise _Killed
        left -= 1
        step(self, *arguments)

    monkeypatch.setattr(Training, "_train_step", stops)
    with pytest.raises(_Killed):
        interrupted.run()
    monkeypatch.setattr(Training, "_train_step", step)
    resumed = training(tmp_path / "killed").run()
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    assert resumed == whole


@pytest.mark.slow
def test_a_process_killed_mid_epoch_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", files(per_class=50))
    command = [sys.executable, "-m", "models", "train", "--model", "resnet8", "--data", str(data), "--threads", "1"]
    command += ["--epochs", "2", "--batch-size", "2", "--precision", "float32", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, "--out", str(killed)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    checkpoint = torch.load(killed / "checkpoint.pt", weights_only=True)
    assert checkpoint["progress"]["step"] > 0, "killed within an epoch"
    subprocess.run([*command, "--out", str(killed)], check=True, env=environment, capture_output=True)
    records = [json.loads((folder / "training.json").read_text()) for folder in (tmp_path / "whole", killed)]
    assert len(records[1]["epochs"]) == 2
    assert records[0] == records[1]
    assert same_weights(tmp_path / "whole", killed)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    first = training(tmp_path)
    first._save_checkpoint()
    with pytest.raises(ValueError, match="belongs to a different run"):
        training(tmp_path, seed=1).run()


def test_a_finished_run_is_neither_trained_again_nor_overwritten_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = training(tmp_path).run()
    monkeypatch.setattr(Training, "_train_step", _must_not_be_called)
    assert training(tmp_path).run() == record
    with pytest.raises(ValueError, match=r"training\.json belongs to a different run"):
        training(tmp_path, seed=1).run()


def _must_not_be_called(*_: Any) -> None:
    raise AssertionError("a finished run was trained")


def test_the_command_trains_and_a_second_call_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_folder(tmp_path / "data", files(per_class=2))
    options = ["train", "--model", "plain8", "--data", str(data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    options += ["--epochs", "1", "--batch-size", "3"]
    assert main(options) == 0
    first = capsys.readouterr().out
    assert "plain8: train error" in first
    assert json.loads((tmp_path / "run/training.json").read_text())["data_set"] == "data"
    weights = (tmp_path / "run/weights.safetensors").stat()
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-1] == first.splitlines()[-1]
    assert (tmp_path / "run/weights.safetensors").stat() == weights


def test_the_command_names_the_file_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_folder(tmp_path / "data", files() | {"train/red/broken.png": b"no image"})
    assert main(["train", "--model", "plain8", "--data", str(data), "--out", str(tmp_path / "run")]) == 2
    assert "train/red/broken.png" in capsys.readouterr().err


def test_the_command_offers_the_papers_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Recipe] = []

    def only_look(self: Training) -> dict[str, Any]:
        seen.append(self.recipe)
        return {"final": {"train_error": 0.0, "test_error": 0.0}}

    monkeypatch.setattr(Training, "run", only_look)
    data = write_folder(tmp_path / "data", files())
    assert main(["train", "--model", "resnet8", "--data", str(data), "--paper", "--epochs", "3"]) == 0
    assert (seen[0].epochs, seen[0].schedule, seen[0].batch_size, seen[0].nesterov) == (3, "paper", 128, False)


def test_augmentation_only_shifts_and_mirrors() -> None:
    image = torch.arange(1, 17, dtype=torch.uint8).view(1, 4, 4, 1).expand(64, 4, 4, 3).contiguous()
    padded = torch.nn.functional.pad(image[0, ..., 0], (1, 1, 1, 1))
    crops = [padded[top : top + 4, left : left + 4] for top in range(3) for left in range(3)]
    allowed = {tuple(view.flatten().tolist()) for crop in crops for view in (crop, crop.flip(1))}
    seen = {tuple(one[..., 0].flatten().tolist()) for one in augment(image, 1, torch.Generator().manual_seed(0))}
    assert seen <= allowed
    assert len(seen) > 9, "both mirrored and not"


def test_channel_statistics_are_those_of_the_pixels_in_zero_to_one() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 1, 2)), abs=1e-4)
    assert std == pytest.approx((images / 255).std(axis=(0, 1, 2)), abs=1e-4)
