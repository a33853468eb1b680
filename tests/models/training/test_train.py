"""Training with the same seed gives the same weights, interrupted or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.__main__ import main
from models.networks.network import Architecture
from models.training.data import DataError, hold_out
from models.training.recipe import SGD, UNRECORDED, Recipe
from models.training.train import Training
from tests.models.small_data import data_set, files, write_folder
from tests.models.stopped_training import stopped_after

TINY = replace(SGD, epochs=2, batch_size=6, small_size=6, small_until=0.5, crop_padding=1, precision="float32")
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


@pytest.mark.parametrize("base", [SGD, Recipe()], ids=["sgd", "default"])
def test_it_learns_what_can_be_learned(tmp_path: Path, base: Recipe) -> None:
    recipe = replace(
        base, epochs=12, batch_size=6, learning_rate=0.05, small_until=0, crop_padding=0, precision="float32"
    )
    assert training(tmp_path, recipe=recipe).run()["final"]["train_error"] == 0


@pytest.mark.parametrize("steps_before", [1, 3, 4, 5])
def test_a_run_stopped_at_any_step_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_before: int
) -> None:
    """Four steps make an epoch."""
    stop_and_go_on(tmp_path, monkeypatch, TINY, steps_before)


EVERY_OPTION = {
    "alternate": replace(TINY, mirror="alternate"),
    "smoothing": replace(TINY, label_smoothing=0.1),
    "no decay": replace(TINY, decay_norms_and_biases=False),
    "averaging": replace(TINY, averaging=0.9),
    "muon": replace(TINY, optimizer="muon"),
    "clip": replace(TINY, clip=0.1),
    "all": replace(
        TINY,
        mirror="alternate",
        label_smoothing=0.1,
        decay_norms_and_biases=False,
        averaging=0.9,
        optimizer="muon",
        clip=0.5,
        precision="bfloat16",
    ),
}


@pytest.mark.parametrize("name", EVERY_OPTION)
def test_a_stopped_run_ends_with_the_same_weights_with_every_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A run without the option ends with other weights: the option is at work."""
    stop_and_go_on(tmp_path, monkeypatch, EVERY_OPTION[name], steps_before=3)
    training(tmp_path / "without").run()
    assert not same_weights(tmp_path / "whole", tmp_path / "without")


def stop_and_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, steps_before: int) -> None:
    """Run once to the end, and once stopped before a step and resumed: weights and record must be equal."""
    whole = training(folder / "whole", recipe=recipe).run()
    with stopped_after(steps_before, monkeypatch):
        training(folder / "killed", recipe=recipe).run()
    resumed = training(folder / "killed", recipe=recipe).run()
    assert same_weights(folder / "whole", folder / "killed")
    assert resumed == whole
    assert len(json.loads((folder / "killed/timing.json").read_text())["seconds"]) == 2


@pytest.mark.slow
def test_a_process_killed_mid_epoch_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "data", files(per_class=50))
    often = (
        "from models.training import train; from models.__main__ import main; "
        "train.SECONDS_BETWEEN_CHECKPOINTS = 0.0; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", often, "train", "--model", "resnet8", "--data", str(data), "--threads", "1"]
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


def test_a_run_recorded_before_a_field_existed_is_the_same_run(tmp_path: Path) -> None:
    record = training(tmp_path).run()
    old = json.loads((tmp_path / "training.json").read_text())
    for name in UNRECORDED:
        del old["recipe"][name]
    del old["held_out_images"]
    (tmp_path / "training.json").write_text(json.dumps(old))
    assert training(tmp_path).run() == old
    with pytest.raises(ValueError, match="belongs to a different run"):
        training(tmp_path, recipe=replace(TINY, averaging=Recipe().averaging)).run()
    assert record["recipe"]["averaging"] == 0


def test_a_checkpoint_from_before_a_field_existed_is_gone_on_from_by_what_was_done_then(tmp_path: Path) -> None:
    run = training(tmp_path)
    run.train_epoch()
    run._save_checkpoint()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name in UNRECORDED:
        del state["identity"]["recipe"][name]
    torch.save(state, tmp_path / "checkpoint.pt")
    by_default = replace(TINY, **{name: getattr(Recipe(), name) for name in UNRECORDED})
    with pytest.raises(ValueError, match=r"checkpoint\.pt belongs to a different run"):
        training(tmp_path, recipe=by_default).run()
    assert [epoch["epoch"] for epoch in training(tmp_path).run()["epochs"]] == [1, 2]


def test_the_average_is_what_is_kept_and_evaluated(tmp_path: Path) -> None:
    run = training(tmp_path, recipe=replace(TINY, averaging=0.9))
    record = run.run()
    kept = load_file(tmp_path / "weights.safetensors")
    assert run.step.average is not None
    average = run.step.average.network.state_dict()
    assert all(torch.equal(kept[name], average[name]) for name in kept)
    assert not torch.equal(kept["stem.weight"], run.network.state_dict()["stem.weight"])
    run.step.average = None
    assert run.evaluate(run.data.train)[0] != record["final"]["train_loss"]


def test_the_recorded_loss_is_without_label_smoothing(tmp_path: Path) -> None:
    """At a rate of 0 both runs make the same forward passes."""
    still = replace(TINY, learning_rate=0.0, epochs=1)
    losses = [
        training(tmp_path / str(smoothing), recipe=replace(still, label_smoothing=smoothing)).run()["epochs"][0]
        for smoothing in (0.0, 0.2)
    ]
    assert losses[0]["train_loss"] == losses[1]["train_loss"]


def test_steps_with_the_rate_on_the_device_end_with_about_the_same_weights(tmp_path: Path) -> None:
    """On a GPU the learning rate is a tensor, which rounds the update once more."""
    recipe = replace(TINY, learning_rate=0.01, mirror="alternate", averaging=0.5, clip=1.0)
    found = []
    for on_device in (False, True):
        folder = tmp_path / str(on_device)
        Training("resnet8", ARCHITECTURE, recipe, data_set(), "", folder, rate_on_device=on_device).run()
        found.append(load_file(folder / "weights.safetensors"))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=1e-4)


def test_held_out_images_are_measured_and_not_trained_on(tmp_path: Path) -> None:
    whole = data_set()
    data, held_out = hold_out(whole, 6)
    assert len(data.train) == 18
    assert len(held_out) == 6
    assert set(data.train.names).isdisjoint(held_out.names)
    assert set(data.train.names) | set(held_out.names) == set(whole.train.names)
    assert hold_out(whole, 6)[1].names == held_out.names
    run = Training("resnet8", ARCHITECTURE, TINY, data, "squares", tmp_path, held_out=held_out)
    record = run.run()
    assert record["train_images"] == 18
    assert record["held_out_images"] == 6
    assert record["held_out"] == dict(zip(("loss", "error"), run.evaluate(held_out), strict=True))
    with pytest.raises(ValueError, match="belongs to a different run"):
        Training("resnet8", ARCHITECTURE, TINY, data, "squares", tmp_path).run()


@pytest.mark.parametrize("images", [-1, 0, 24])
def test_no_more_images_can_be_held_out_than_there_are(images: int) -> None:
    with pytest.raises(DataError, match="cannot be held out of 24"):
        hold_out(data_set(), images)


def test_the_command_trains_and_a_second_call_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_folder(tmp_path / "data", files(per_class=2))
    options = ["train", "--model", "plain8", "--data", str(data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    options += ["--epochs", "1", "--batch-size", "2", "--hold-out", "2", "--mirror", "alternate"]
    options += ["--no-decay-norms-and-biases"]
    assert main(options) == 0
    first = capsys.readouterr().out
    assert "plain8: train error" in first
    assert "held-out error" in first
    recipe = json.loads((tmp_path / "run/training.json").read_text())["recipe"]
    assert (recipe["mirror"], recipe["decay_norms_and_biases"], recipe["nesterov"]) == ("alternate", False, True)
    assert json.loads((tmp_path / "run/training.json").read_text())["data_set"] == "data"
    weights = (tmp_path / "run/weights.safetensors").stat()
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-1] == first.splitlines()[-1]
    assert (tmp_path / "run/weights.safetensors").stat() == weights


def test_the_command_trains_several_networks_in_turn_and_one_that_fails_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_folder(tmp_path / "data", files(per_class=2))
    options = ["train", "--model", "plain8", "resnet8", "--data", str(data), "--out", str(tmp_path), "--device", "cpu"]
    options += ["--batch-size", "2", "--epochs"]
    assert main([*options, "1"]) == 0
    assert json.loads((tmp_path / "resnet8/training.json").read_text())["model"] == "resnet8"
    (tmp_path / "resnet8/training.json").unlink()
    capsys.readouterr()
    assert main([*options, "2"]) == 1
    captured = capsys.readouterr()
    assert "plain8: " in captured.err
    assert "belongs to a different run" in captured.err
    assert "resnet8: train error" in captured.out


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
