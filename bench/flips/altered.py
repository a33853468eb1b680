"""Copies of a shipped network with noise on their weights, as much as makes a wanted share of negative flips."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from bench.bundles.copies import WEIGHTS, sign
from bench.harness.paths import SHIPPED
from service.contract.arrays import Pixels
from service.contract.runtime.opening import Runtime
from service.diagnostics.versions.flips import Flips
from service.offline.against.versions import Pictures
from service.offline.model import OfflineModel, finished, labelled_files

SUBJECT = "resnet20"
FIRST_NOISE = 0.01
"""Noise on every weight, relative to it, that is tried first, for the smallest share."""
CLOSE = 0.05
"""Distance from the wanted share, relative to it, at which the search ends."""
MOST_TRIALS = 12
LEAST_WEIGHT = 1e-30

Right = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledPixels:
    """Images as the subject reads them, uint8 [n, h, w, c], and their labels, [n]."""

    pixels: Pixels
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Altered:
    """A network beside the subject: how it was altered, and what became right and wrong on all images."""

    name: str
    flips: Flips


def labelled_pixels(folder: Path, most: int) -> LabelledPixels:
    """Read up to `most` labelled images of a folder, spread over it."""
    bundle = OfflineModel(SHIPPED / SUBJECT, Runtime("cpu"), needed="forward").bundle
    files = [file for file in labelled_files(folder, bundle.labels) if file.label is not None]
    files = [files[row] for row in np.linspace(0, len(files) - 1, min(most, len(files))).astype(int)]
    pixels = [one for one in Pictures(folder, files).pixels(bundle.input) if not isinstance(one, str)]
    return LabelledPixels(np.stack(pixels), np.array([bundle.labels.index(str(file.label)) for file in files]))


def right(folder: Path, images: LabelledPixels) -> Right:
    """Return which images the bundle in `folder` is right about, [n]."""
    model = OfflineModel(folder, Runtime("cpu"), needed="forward")
    logits = finished(model.run("forward", images.pixels))["logits"]
    return np.asarray(logits.argmax(axis=1) == images.labels)


def flips_between(before: Right, now: Right) -> Flips:
    counts = [int(np.sum(one)) for one in (before & now, before & ~now, now & ~before, ~before & ~now)]
    return Flips(*counts)


def with_noise(target: Path, noise: float, seed: int) -> Path:
    """Copy the subject to `target` with every weight times 1 + noise · N(0, 1)."""
    shutil.copytree(SHIPPED / SUBJECT, target)
    weights = np.fromfile(target / WEIGHTS, np.float32)
    factors = (1 + noise * np.random.default_rng(seed).normal(size=weights.size)).astype(np.float32)
    # The file also has whole numbers, such as shapes, which as floats are next to nothing or none at all.
    weights[:] = np.where(np.abs(weights) > LEAST_WEIGHT, weights * factors, weights)
    weights.tofile(target / WEIGHTS)
    sign(target, WEIGHTS)
    return target


def altered(images: LabelledPixels, shares: list[float], seeds: int) -> Iterator[Altered]:
    """Yield networks with about each of the wanted shares of negative flips, `seeds` for each."""
    before = right(SHIPPED / SUBJECT, images)
    for seed in range(seeds):
        noise, last = FIRST_NOISE, shares[0]
        for share in shares:
            noise, flips = _searched(images, before, share, seed, noise * share / last)
            last = share
            yield Altered(f"noise of {100 * noise:.2g} % on every weight (seed {seed})", flips)


def others(images: LabelledPixels, names: tuple[str, ...]) -> Iterator[Altered]:
    """Yield other shipped networks beside the subject."""
    before = right(SHIPPED / SUBJECT, images)
    for name in names:
        yield Altered(f"{name} in its place", flips_between(before, right(SHIPPED / name, images)))


def _searched(images: LabelledPixels, before: Right, share: float, seed: int, noise: float) -> tuple[float, Flips]:
    """Return noise and flips of the copy that is nearest to the wanted share, after some trials from `noise` on."""
    found: dict[float, Flips] = {}
    for _ in range(MOST_TRIALS):
        with TemporaryDirectory() as folder:
            now = right(with_noise(Path(folder) / SUBJECT, noise, seed), images)
        found[noise] = flips_between(before, now)
        reached = {one: flips.negative / len(before) for one, flips in found.items()}
        if abs(reached[noise] - share) <= CLOSE * share:
            break
        below = [one for one in reached if reached[one] < share]
        above = [one for one in reached if reached[one] > share]
        if below and above:
            noise = float(np.sqrt(max(below) * min(above)))
        else:
            noise *= float(np.clip(share / max(reached[noise], share / 4), 0.25, 4.0))
    best = min(found, key=lambda one: abs(found[one].negative / len(before) - share))
    return best, found[best]
