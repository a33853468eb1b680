"""Degradation over seeds: plain and residual nets of 20 and 56 layers, small enough to train several times.

Fewer images, half the side, few epochs, one budget for all; for the sign of the differences, not for their size.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models.networks.network import architecture
from models.phenomena.degradation import SeedResult
from models.training.data import DataSet, Split, load
from models.training.recipe import Recipe
from models.training.train import Training

MODELS = ("plain20", "plain56", "resnet20", "resnet56")
FILE = "degradation-seeds.json"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the verb `seeds`."""
    parser.add_argument("--data", type=Path, required=True, help="data set as for `train`")
    parser.add_argument("--data-name", default=None, help="what the record calls it (default: its file name)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="writes figures/degradation-seeds.json there")
    parser.add_argument("--out", type=Path, default=Path("models/runs/seeds"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000, help="training images")
    parser.add_argument("--epochs", type=int, default=8)


def run(options: argparse.Namespace) -> int:
    """Train every model with every seed and write the training errors; runs that are finished are not repeated."""
    data = reduced(load(options.data), options.images)
    recipe = Recipe(epochs=options.epochs, batch_size=64, learning_rate=0.1, small_until=0.0)
    name = options.data_name or options.data.name
    results = []
    for seed in range(options.seeds):
        for model in MODELS:
            folder = options.out / f"{model}-{seed}"
            record = Training(model, architecture(model), recipe, data, name, folder, seed).run()
            results.append(SeedResult(model, seed, float(record["final"]["train_error"])))
    side = data.train.images.shape[1]
    setup = (
        f"{len(data.train)} images of {name} at {side} × {side} pixels, "
        f"{options.epochs} epochs for every net (`python -m models seeds`)"
    )
    file = options.docs / "figures" / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"setup": setup, "runs": [asdict(result) for result in results]}, indent=1) + "\n")
    return 0


def reduced(data: DataSet, images: int) -> DataSet:
    """Evenly spaced images of each split (the test split no larger than the training split), at half their side."""
    return DataSet(data.labels, _reduced(data.train, images), _reduced(data.test, images))


def _reduced(split: Split, images: int) -> Split:
    rows = np.linspace(0, len(split) - 1, min(images, len(split)), dtype=np.int64)
    chosen = split.images[rows]
    count, height, width, channels = chosen.shape
    squares = chosen.reshape(count, height // 2, 2, width // 2, 2, channels)
    small = np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)
    return Split(small, split.classes[rows], tuple(split.names[row] for row in rows))
