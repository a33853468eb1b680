"""`make bench-scores`: the worth of each score → docs/reports/scores.md."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.harness.machine import day_and_machine
from bench.harness.page import parser_of, publish
from bench.harness.paths import DOCS, SHIPPED
from bench.scores import foreign, labels
from service.bundles.disk import BundleRefused
from service.contract.arrays import Pixels
from service.contract.runtime.opening import Runtime
from service.images.preprocess import decode
from service.offline.model import OfflineModel, labelled_files, labels_of

COMMAND = "make bench-scores"


def main() -> None:
    parser = parser_of("python -m bench.scores", __doc__, DOCS / "reports" / "scores.md")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/<label>/… and test/<label>/…")
    parser.add_argument("--bundles", type=Path, default=SHIPPED)
    parser.add_argument("--names", nargs="*", help="of the bundles (default: all but those made to be sick)")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--train-images", type=int, default=3000)
    options = parser.parse_args()
    every = sorted(path.parent.name for path in options.bundles.glob("*/bundle.json"))
    names = options.names or [name for name in every if "sigmoid" not in name and "exploding" not in name]
    parts = [f"{day_and_machine()}, by {options.images} test images."]
    for name in names:
        try:
            parts.append(measure(options.bundles / name, options.data, options.images, options.train_images))
        except BundleRefused as error:
            print(f"{name}: {error}", file=sys.stderr)
        print(name, flush=True)
    publish(options, COMMAND, "\n\n".join(parts))


def measure(bundle: Path, data: Path, images: int, train_images: int) -> str:
    """Return both tables for one bundle."""
    model = OfflineModel(bundle, Runtime("auto"))
    known, classes = load(data / "test", images, model)
    train, _ = load(data / "train", train_images, model)
    train_features = asyncio.run(model.run("forward", train))["features"]
    accuracy = np.mean(asyncio.run(model.run("forward", known))["logits"].argmax(axis=1) == classes)
    title = f"## {model.bundle.name} ({accuracy:.1%} of these test images right)"
    return "\n\n".join([title, foreign.section(model, known, train_features), labels.section(model, known, classes)])


def load(folder: Path, count: int, model: OfflineModel) -> tuple[Pixels, NDArray[np.int64]]:
    """Read `count` labelled pictures spread over `folder`: uint8 [n, h, w, 3] and classes int64 [n]."""
    labels = model.bundle.labels
    files = [file for file in labelled_files(folder, labels) if file.label is not None]
    chosen = [files[row] for row in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
    pixels = np.stack([decode((folder / file.path).read_bytes(), model.bundle.input) for file in chosen])
    return pixels, labels_of(chosen, model.bundle)


if __name__ == "__main__":
    main()
