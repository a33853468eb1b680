"""Folders of labelled images, and copies of a shipped bundle that answer otherwise."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.bundle_schema import BUNDLE_FILE

ROOT = Path(__file__).parents[4]
BUNDLES = ROOT / "models" / "bundles"
RESNET = BUNDLES / "resnet20"
PHOTOGRAPHS = ROOT / "tests" / "photographs"
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def labelled_folder(folder: Path) -> Path:
    """Twenty photographs in folders called like their labels, two of each."""
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for number in ("", "2"):
            shutil.copy(PHOTOGRAPHS / f"{name}{number}.jpg", folder / name / f"{name}{number}.jpg")
    return folder


def described(target: Path, change: Callable[[dict[str, Any]], None], source: Path = RESNET) -> Path:
    """Copy a bundle with another description."""
    shutil.copytree(source, target)
    document = json.loads((target / BUNDLE_FILE).read_text())
    change(document)
    (target / BUNDLE_FILE).write_text(json.dumps(document))
    return target


def noisy(target: Path, noise: float, seed: int = 0, **fields: str) -> Path:
    """Copy resnet20 with noise on every weight, and other fields in its description."""
    shutil.copytree(RESNET, target)
    weights = np.fromfile(target / "weights.bin", np.float32)
    factors = (1 + noise * np.random.default_rng(seed).normal(size=weights.size)).astype(np.float32)
    # The file also has whole numbers, such as shapes, which as floats are next to nothing or none at all.
    weights[:] = np.where(np.abs(weights) > 1e-30, weights * factors, weights)
    weights.tofile(target / "weights.bin")
    document = json.loads((target / BUNDLE_FILE).read_text()) | fields
    document["sha256"]["weights.bin"] = hashlib.sha256((target / "weights.bin").read_bytes()).hexdigest()
    (target / BUNDLE_FILE).write_text(json.dumps(document))
    return target
