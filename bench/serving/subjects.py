"""The networks that are served while servers are compared, each with its photographs and its load."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.bundles.untrained import write_resnet50
from bench.harness.apart import call_apart
from bench.harness.paths import PHOTOGRAPHS, SHIPPED
from bench.serving.classifier import Classifier

CLEAR = 1e-3
"""Least relative distance of the two best logits that rounding cannot turn around."""


@dataclass(frozen=True)
class Subject:
    """One network with its load."""

    name: str
    title: str
    bundle: Path
    photographs: tuple[Path, ...]
    connections: tuple[int, ...]
    seconds: float
    """Seconds at each number of connections."""
    batches: tuple[int, ...]
    """Batch sizes that the bound tries."""
    bound_seconds: float
    peer_threads: int
    """Threads of a run that serve those servers best that run one batch at a time."""
    decoder_target: float
    """Aim for the service's rate per CPU-second, relative to the bound with the decoder in use."""
    shipped: bool
    """The targets for throughput beside peers, latency, start and memory are about this network."""


def small(scratch: Path, seconds: float) -> Subject:
    """Return the shipped resnet20 on the test photographs of its own size."""
    return Subject(
        name="resnet20",
        title="resnet20, 32×32 JPEG photographs of 1 kB",
        bundle=SHIPPED / "resnet20",
        photographs=plain_photographs(".jpg"),
        connections=(1, 8, 32, 128),
        seconds=seconds,
        batches=(1, 2, 4, 8, 16, 32),
        bound_seconds=min(3.0, seconds),
        peer_threads=1,
        decoder_target=0.85,
        shipped=True,
    )


def large(scratch: Path, seconds: float, bundle: Path | None = None) -> Subject:
    """Return torchvision's ResNet-50 with random weights, on the test photographs enlarged to 500×375.

    Its bundle takes a while to be made, unless it is there already.
    """
    if bundle is None:
        bundle = scratch / "bundles" / "resnet50"
        call_apart(write_resnet50, str(bundle.parent))
    return Subject(
        name="resnet50",
        title="ResNet-50 with random weights, 224×224 from 500×375 JPEG photographs of 30 kB",
        bundle=bundle,
        photographs=_enlarged(plain_photographs(".jpg"), scratch / "photographs", (500, 375)),
        connections=(1, 8, 32),
        seconds=1.5 * seconds,
        batches=(1, 2, 4, 8),
        bound_seconds=seconds,
        peer_threads=os.cpu_count() or 1,
        decoder_target=0.95,
        shipped=False,
    )


SUBJECTS: dict[str, Callable[[Path, float], Subject]] = {"resnet20": small, "resnet50": large}


def write_expected(subject: Subject, listing: Path) -> None:
    """Write [[file, label], …] to `listing`: the photographs whose label is clear, by the bound's classifier."""
    os.environ["BENCH_BUNDLE"] = str(subject.bundle)
    classifier = Classifier()
    entries = []
    for file in subject.photographs:
        logits = classifier.logits(classifier.decode(file.read_bytes())[None])[0]
        second, best = sorted(logits)[-2:]
        if best - second > CLEAR * abs(best):
            entries.append((str(file), classifier.labels[logits.argmax()]))
    if len(entries) < len(subject.photographs) / 2:
        raise RuntimeError(f"{subject.name} tells too few of the photographs apart to check answers by them")
    listing.write_text(json.dumps(entries))


def plain_photographs(*suffixes: str) -> tuple[Path, ...]:
    """Return the test photographs that a net for 32×32 pixels takes as they are."""
    found = []
    for file in sorted(PHOTOGRAPHS.iterdir()):
        if file.suffix in suffixes:
            with Image.open(file) as image:
                if image.size == (32, 32) and image.mode == "RGB" and not image.getexif():
                    found.append(file)
    return tuple(found)


def _enlarged(files: tuple[Path, ...], folder: Path, size: tuple[int, int]) -> tuple[Path, ...]:
    folder.mkdir(parents=True)
    for file in files:
        with Image.open(file) as image:
            image.resize(size, Image.Resampling.BICUBIC).save(folder / file.name, quality=90)
    return tuple(folder / file.name for file in files)
