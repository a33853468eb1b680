"""`make bench-scores`: what each score is worth → docs/scores.md.

Foreign images: AUROC and FPR95 of each score, test photographs against noise, gratings, digits, shuffled and
blended photographs, with nearest neighbours on the last layer's features beside them. Wrong labels: the recall of
each score at a budget equal to the number of flipped labels, on images the network was not trained on, with
cleanlab beside it, and on the first page of `python -m service diagnose`'s report.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.bundles.disk import BundleRefused
from service.contract.loss import probabilities
from service.contract.runtime import Runtime
from service.diagnostics import scores
from service.images.preprocess import decode
from service.offline.model import OfflineModel, diagnose, labelled_files

Array = NDArray[Any]

SIZE = 32
NEIGHBOURS = 50
FLIP_SHARE = 0.05
FLIP_SEEDS = 3
FOREIGN = 300


# ---------------------------------------------------------------- images


def load(folder: Path, labels: tuple[str, ...], count: int, model: OfflineModel) -> tuple[Array, Array]:
    """`count` labelled pictures spread over `folder`: uint8 [n, h, w, 3] and classes int64 [n]."""
    files = [file for file in labelled_files(folder, labels) if file.label is not None]
    chosen = [files[row] for row in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
    pixels = np.stack([decode((folder / file.path).read_bytes(), model.bundle.input) for file in chosen])
    return pixels, np.array([labels.index(str(file.label)) for file in chosen])


def foreign_images(known: Array, seed: int = 0) -> dict[str, Array]:
    """Kinds of pictures that are none of the classes, as many of each as there are known ones."""
    random = np.random.default_rng(seed)
    count = len(known)
    return {
        "uniform noise": random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8),
        "gratings": np.stack([grating(random) for _ in range(count)]),
        "digits": np.stack([digit(random) for _ in range(count)]),
        "shuffled photographs": np.stack([shuffled(image, random) for image in known]),
        "blended photographs": ((known.astype(int) + known[random.permutation(count)]) // 2).astype(np.uint8),
    }


def grating(random: np.random.Generator) -> Array:
    """A texture: two crossed waves of random direction, frequency and colours."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    wave = np.zeros((SIZE, SIZE))
    for _ in range(2):
        angle, frequency, phase = random.uniform(0, np.pi), random.uniform(2, 12), random.uniform(0, 2 * np.pi)
        wave += np.sin(2 * np.pi * frequency * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    first, second = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
    share = (wave[..., None] + 2) / 4
    result: Array = (first * share + second * (1 - share)).astype(np.uint8)
    return result


def digit(random: np.random.Generator) -> Array:
    """A printed digit of random size, place and colours."""
    ground, ink = (tuple(int(v) for v in random.integers(0, 256, 3)) for _ in range(2))
    image = Image.new("RGB", (SIZE, SIZE), ground)
    font = ImageFont.load_default(size=int(random.integers(16, 30)))
    place = (int(random.integers(2, 12)), int(random.integers(-4, 6)))
    ImageDraw.Draw(image).text(place, str(random.integers(0, 10)), fill=ink, font=font)
    return np.asarray(image)


def shuffled(image: Array, random: np.random.Generator) -> Array:
    """The picture's sixteen 8 × 8 tiles in another order: its colours and textures without its shape."""
    tiles = image.reshape(4, 8, 4, 8, 3).swapaxes(1, 2).reshape(16, 8, 8, 3)[random.permutation(16)]
    return tiles.reshape(4, 4, 8, 8, 3).swapaxes(1, 2).reshape(SIZE, SIZE, 3)


# ---------------------------------------------------------------- foreign images


def familiarity(model: OfflineModel, pixels: Array, train_features: Array) -> dict[str, Array]:
    """Every score turned so that high is familiar."""
    norms = asyncio.run(model.run("weight_norms", pixels))
    reference = scores.read_reference(model.stored)
    found = {
        "max probability": probabilities(norms["logits"]).max(axis=1),
        "energy": scores.energy(norms["logits"]),
        "GradNorm": scores.gradnorm(norms["logits"], norms["features"]),
        "nearest neighbours on features": -neighbour_distance(norms["features"], train_features),
    }
    if reference is not None:
        found["distance of the layer norms"] = -scores.layer_norm_distance(norms, reference)
    return found


def neighbour_distance(features: Array, train_features: Array) -> Array:
    """To the 50th nearest training image, on features of unit length (Sun et al. 2022)."""
    unit, train = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (features, train_features)
    )
    similarity = unit @ train.T
    result: Array = -np.partition(similarity, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]
    return result


def auroc(known: Array, foreign: Array) -> float:
    """Chance that a known image has the higher score; ties count half."""
    both = np.concatenate([known, foreign])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[: len(known)].sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(foreign)))


def fpr95(known: Array, foreign: Array) -> float:
    """Share of foreign images at or above the score that 95 % of the known ones reach."""
    return float(np.mean(foreign >= np.quantile(known, 0.05)))


# ---------------------------------------------------------------- wrong labels


def suspicion(model: OfflineModel, pixels: Array, labels: Array) -> dict[str, Array]:
    """Every score turned so that high is suspect."""
    norms = asyncio.run(model.run("weight_norms", pixels, labels))
    logits, own = norms["logits"], probabilities(norms["logits"])[np.arange(len(labels)), labels]
    found = {
        "margin": -scores.margin(logits, labels),
        "1 − p_label": 1 - own,
        "EL2N": scores.el2n(logits, labels),
        "GraNd, all layers": scores.grand(norms["weight_gradient_norm"]),
        "GraNd, last layer": norms["weight_gradient_norm"][:, -1].astype(float),
    }
    with contextlib.suppress(ImportError):
        from cleanlab.rank import get_label_quality_scores  # type: ignore[import-not-found,import-untyped,unused-ignore]

        for method in ("self_confidence", "normalized_margin"):
            found[f"cleanlab {method}"] = -get_label_quality_scores(labels, probabilities(logits), method=method)
    return found


def flipped(labels: Array, classes: int, seed: int) -> tuple[Array, Array]:
    """Labels of which 5 % are wrong, evenly among the other classes, and which ones."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(labels), round(FLIP_SHARE * len(labels)), replace=False)
    wrong = labels.copy()
    wrong[chosen] = (labels[chosen] + random.integers(1, classes, len(chosen))) % classes
    return wrong, chosen


def recall(suspect: Array, chosen: Array) -> float:
    """Share of the flipped among as many of the most suspect as were flipped."""
    top = np.argsort(-suspect, kind="stable")[: len(chosen)]
    return float(np.isin(chosen, top).mean())


def on_the_first_page(
    bundle: Path, pixels: Array, labels: Array, names: tuple[str, ...], seed: int = 0
) -> tuple[int, int]:
    """Flipped images among the suspected label errors of the HTML report, and how many there are."""
    wrong, chosen = flipped(labels, len(names), seed)
    folder = Path(tempfile.mkdtemp())
    try:
        for index, (image, label) in enumerate(zip(pixels, wrong, strict=True)):
            (folder / "data" / names[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "data" / names[label] / f"{index:05}.png")
        arguments = ["--bundle", bundle, "--data", folder / "data", "--out", folder / "report.html"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = diagnose.main([str(argument) for argument in arguments])
        if status:
            raise RuntimeError("diagnose failed")
        report = (folder / "report.html").read_text()
    finally:
        shutil.rmtree(folder)
    section = report.split("<h2>Suspected label errors</h2>")[1].split("<h2>")[0]
    shown = {int(number) for number in re.findall(r"/(\d{5})\.png", section)}
    return len(shown & set(chosen.tolist())), len(shown)


# ---------------------------------------------------------------- the document


def measure(bundle: Path, data: Path, images: int, train_images: int) -> list[str]:
    """Both tables for one bundle."""
    model = OfflineModel(bundle, Runtime("auto"))
    labels = model.bundle.labels
    known, classes = load(data / "test", labels, images, model)
    train, _ = load(data / "train", labels, train_images, model)
    train_features = asyncio.run(model.run("forward", train))["features"]
    familiar = familiarity(model, known, train_features)
    accuracy = np.mean(asyncio.run(model.run("forward", known))["logits"].argmax(axis=1) == classes)
    lines = [f"## {model.bundle.name} ({accuracy:.1%} of these test images right)", ""]
    kinds = foreign_images(known[:: max(1, len(known) // FOREIGN)][:FOREIGN])
    strange = {kind: familiarity(model, pixels, train_features) for kind, pixels in kinds.items()}
    lines += ["Foreign images: AUROC / FPR95, in per cent.", "", f"| score | {' | '.join(kinds)} | mean AUROC |"]
    lines.append("|---" * (len(kinds) + 2) + "|")
    areas: dict[str, list[float]] = {}
    for name, own in familiar.items():
        pairs = [(auroc(own, strange[kind][name]), fpr95(own, strange[kind][name])) for kind in kinds]
        areas[name] = [area for area, _ in pairs]
        cells = " | ".join(f"{100 * area:.1f} / {100 * rate:.1f}" for area, rate in pairs)
        lines.append(f"| {name} | {cells} | {100 * float(np.mean([area for area, _ in pairs])):.1f} |")
    best = [f"{kind}: {max(areas, key=lambda name, at=at: areas[name][at])}" for at, kind in enumerate(kinds)]  # type: ignore[misc]
    lines += ["", f"Best by AUROC: {'; '.join(best)}."]
    lines += ["", *flips(model, bundle, known, classes), ""]
    return lines


def flips(model: OfflineModel, bundle: Path, pixels: Array, classes: Array) -> list[str]:
    """Recall at finding flipped labels, over several draws."""
    names = model.bundle.labels
    found: dict[str, list[float]] = {}
    for seed in range(FLIP_SEEDS):
        wrong, chosen = flipped(classes, len(names), seed)
        for name, suspect in suspicion(model, pixels, wrong).items():
            found.setdefault(name, []).append(recall(suspect, chosen))
    count = round(FLIP_SHARE * len(pixels))
    page, shown = on_the_first_page(bundle, pixels, classes, names)
    lines = [
        f"Wrong labels: {count} of {len(pixels)} flipped, recall among the {count} most suspect ({FLIP_SEEDS} draws)."
    ]
    lines += ["", "| score | mean recall | lowest | highest |", "|---|---|---|---|"]
    lines += [f"| {k} | {np.mean(v):.1%} | {min(v):.1%} | {max(v):.1%} |" for k, v in found.items()]
    return [
        *lines,
        "",
        f"`python -m service diagnose` reports {page} of the {count} among {shown} suspected label errors.",
    ]


def introduction(images: int) -> list[str]:
    return [
        "# What the scores are worth",
        "",
        f"Made by `make bench-scores`, on {images} CIFAR-10 test images, which no network was trained on.",
        "Foreign images (300 of each kind) are made by `bench/scores.py`. The reference is the distance to the 50th",
        "nearest training image, on the last layer's features. AUROC: higher is better; FPR95: lower is better.",
        "",
    ]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scores", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/<label>/… and test/<label>/…")
    parser.add_argument("--bundles", type=Path, default=Path("models/bundles"))
    parser.add_argument("--names", nargs="*", help="of the bundles (default: all but those made to be sick)")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--train-images", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("docs/scores.md"))
    options = parser.parse_args(arguments)
    every = sorted(path.parent.name for path in options.bundles.glob("*/bundle.json"))
    names = options.names or [name for name in every if "sigmoid" not in name and "exploding" not in name]
    lines = introduction(options.images)
    for name in names:
        try:
            lines += measure(options.bundles / name, options.data, options.images, options.train_images)
        except BundleRefused as error:
            print(f"{name}: {error}", file=sys.stderr)
        options.out.write_text("\n".join(lines).rstrip() + "\n")
        print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
