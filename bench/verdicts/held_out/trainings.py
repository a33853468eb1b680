"""Short trainings of the product's own networks, judged before the first step and after every epoch.

Truth, settled before any of them was run: a run *learns* if the mean training loss of its last epoch is more than 0.1
below ln 10, the loss of a network that knows nothing. Every checkpoint of a run that learns is healthy. Every
checkpoint of a run that does not is sick, of what its network was made to be sick of; where nobody made it sick, of
something unknown. The recipe is the same for all.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.bundles.networks import settled
from bench.verdicts.corpus import photographs
from bench.verdicts.judging import Judged, judge_network
from models.networks.network import Architecture, Network
from models.training.data import DataSet, Split, load
from models.training.recipe import SGD
from models.training.train import Training

RECIPE = replace(
    SGD, epochs=5, batch_size=64, learning_rate=0.05, small_until=0.0, precision="float32", weight_decay=1e-4, clip=1.0
)
TRAIN_IMAGES = 2500
TEST_IMAGES = 100
CALIBRATION = 250
"""Training images by which BatchNorm is calibrated before the first step."""
LEARNED = math.log(10) - 0.1
WHEN = {0: "before training", 1: "after 1 epoch", 2: "after 2 epochs", 5: "after 5 epochs"}
"""Checkpoints that are judged, by the number of epochs before them."""
UNKNOWN = "unknown"
"""Sickness of a run that does not learn although nobody made its network sick."""


@dataclass(frozen=True)
class Run:
    """A network to train, and what it was made to be sick of, if of anything."""

    architecture: Architecture
    sickness: str = UNKNOWN

    @property
    def name(self) -> str:
        one = self.architecture
        norm = "BatchNorm" if one.normalization == "batch" else "no normalization"
        scale = f", He × {one.initial_scale:g}" if one.initial_scale != 1 else ""
        return f"{one.family} {one.depth}, {one.activation}, {norm}{scale}"


RUNS = (
    *(Run(Architecture("residual", depth)) for depth in (8, 14, 20)),
    *(Run(Architecture("plain", depth)) for depth in (8, 14, 20, 32)),
    Run(Architecture("residual", 14, "gelu")),
    Run(Architecture("plain", 14, "elu")),
    *(Run(Architecture("plain", depth, normalization="none")) for depth in (8, 14)),
    Run(Architecture("plain", 8, "leaky_relu", "none")),
    Run(Architecture("residual", 8, normalization="none")),
    *(Run(Architecture("plain", depth, "sigmoid", "none"), "vanishing") for depth in (8, 14, 20)),
    *(Run(Architecture("plain", depth, "relu", "none", 0.5), "vanishing") for depth in (14, 20)),
    *(Run(Architecture("plain", depth, "relu", "none", 2.0), "exploding") for depth in (14, 20)),
)


@dataclass(frozen=True)
class Finished:
    """A run that is over: the mean training loss of each epoch, and the weights before the first and after each."""

    run: Run
    losses: list[float]
    weights: list[dict[str, Tensor]]

    @property
    def truth(self) -> str:
        return "healthy" if self.losses[-1] < LEARNED else self.run.sickness

    def network(self, epoch: int) -> Network:
        """Return the network as it was after so many epochs, in inference mode."""
        network = Network(self.run.architecture)
        network.load_state_dict(self.weights[epoch])
        return network.eval()


def judge_run(done: Finished) -> list[Judged]:
    """Judge the checkpoints of a run."""
    return [
        judge_network(f"{done.run.name} {WHEN[epoch]}", done.truth, frozenset(), done.network(epoch), photographs())
        for epoch in WHEN
    ]


def finished_runs(data: Path | None, cache: Path) -> Iterator[Finished | str]:
    """Yield every run, trained now or read from the cache; instead of one that cannot be had, a sentence."""
    loaded: DataSet | None = None
    for run in RUNS:
        folder = cache / run.name.replace(" ", "-").replace(",", "")
        done = read(run, folder)
        if done is None:
            if data is None or not data.exists():
                yield f"{run.name}: not trained, for want of images (`--data`)."
                continue
            loaded = loaded or reduced(load(data))
            done = trained(run, loaded, folder)
        yield done


def read(run: Run, folder: Path) -> Finished | None:
    """Return what an earlier call of `trained` left in the folder, if that was the same run."""
    record, count = folder / "record.json", RECIPE.epochs + 1
    if not record.exists():
        return None
    written = json.loads(record.read_text())
    if written["identity"] != identity(run):
        return None
    return Finished(run, written["losses"], [load_file(folder / f"{epoch}.safetensors") for epoch in range(count)])


def trained(run: Run, data: DataSet, folder: Path) -> Finished:
    """Train, and leave the losses and the weights in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    training = Training(run.name, run.architecture, RECIPE, data, "reduced", folder)
    folder.mkdir(parents=True)
    pixels = torch.from_numpy(data.train.images[:: max(1, len(data.train) // CALIBRATION)]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (training.mean, training.std))
    networks = [settled(copy.deepcopy(training.network), (pixels - mean) / std)]
    while training.progress.epoch < RECIPE.epochs:
        training.train_epoch()
        networks.append(copy.deepcopy(training.network))
    losses = [epoch["train_loss"] for epoch in training.progress.history]
    weights = [{key: value.contiguous() for key, value in one.state_dict().items()} for one in networks]
    for epoch, values in enumerate(weights):
        save_file(values, folder / f"{epoch}.safetensors")
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    (folder / "record.json").write_text(json.dumps({"identity": identity(run), "losses": losses}, indent=1))
    return Finished(run, losses, weights)


def identity(run: Run) -> dict[str, Any]:
    """Return all that decides how a run ends."""
    return {**asdict(run.architecture), **asdict(RECIPE), "images": TRAIN_IMAGES}


def reduced(data: DataSet) -> DataSet:
    """Return the first images of each class, as many as the trainings take."""

    def first(split: Split, count: int) -> Split:
        rows = np.concatenate(
            [np.flatnonzero(split.classes == number)[: count // len(data.labels)] for number in range(len(data.labels))]
        )
        return Split(split.images[rows], split.classes[rows], tuple(split.names[row] for row in rows))

    return replace(data, train=first(data.train, TRAIN_IMAGES), test=first(data.test, TEST_IMAGES))
