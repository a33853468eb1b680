"""`python -m models seeds`: degradation over several seeds, on small plain and residual nets of 20 and 56 layers.

All nets get the same few epochs on few images of half the side. That shows the sign of the differences, and not
their size.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from models.networks.network import architecture
from models.phenomena.degradation import SeedResult
from models.training.data import DataSet, Split, load
from models.training.recipe import SGD
from models.training.train import Training

MODELS = ("plain20", "plain56", "resnet20", "resnet56")
FILE = "degradation-seeds.json"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `seeds`."""
    parser.add_argument("--data", type=Path, required=True, help="data set, as for `train`")
    parser.add_argument("--data-name", default=None, help="what the record calls it (default: its file name)")
    parser.add_argument(
        "--docs", type=Path, default=Path("docs"), help=f"folder whose figures/{FILE} is written (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("models/runs/seeds"), help="folder of the runs (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: %(default)s)")
    parser.add_argument("--images", type=int, default=2000, help="number of training images (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of every net (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Train every model with every seed, and write the training errors; finished runs are not repeated."""
    data = reduced(load(options.data), options.images)
    recipe = replace(SGD, epochs=options.epochs, batch_size=64, learning_rate=0.1, small_until=0.0)
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
        f"{options.epochs} epochs for every net, by SGD without Muon (`python -m models seeds`)"
    )
    file = options.docs / "figures" / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"setup": setup, "runs": [asdict(result) for result in results]}, indent=1) + "\n")
    return 0


def reduced(data: DataSet, images: int) -> DataSet:
    """Choose `images` evenly spaced images of each split, or all where it has fewer, and halve their side."""
    return DataSet(data.labels, _reduced(data.train, images), _reduced(data.test, images))


def _reduced(split: Split, images: int) -> Split:
    rows = np.linspace(0, len(split) - 1, min(images, len(split)), dtype=np.int64)
    chosen = split.images[rows]
    count, height, width, channels = chosen.shape
    squares = chosen.reshape(count, height // 2, 2, width // 2, 2, channels)
    small = np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)
    return Split(small, split.classes[rows], tuple(split.names[row] for row in rows))
