"""Flipped labels found again: the recall of each score, and of the report of `python -m service diagnose`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.harness.page import table
from service.contract.arrays import Pixels
from service.contract.loss import probabilities
from service.diagnostics import scores
from service.offline import diagnose
from service.offline.model import OfflineModel

Floats = NDArray[np.floating]
Classes = NDArray[np.int64]

FLIP_SHARE = 0.05
FLIP_SEEDS = 3


def section(model: OfflineModel, pixels: Pixels, classes: Classes) -> str:
    """Return the recall of each score over several draws, and what the first page of the report shows."""
    found: dict[str, list[float]] = {}
    for seed in range(FLIP_SEEDS):
        wrong, chosen = flipped(classes, len(model.bundle.labels), seed)
        for name, suspect in suspicion(model, pixels, wrong).items():
            found.setdefault(name, []).append(recall(suspect, chosen))
    count = round(FLIP_SHARE * len(pixels))
    page, shown = on_the_first_page(model, pixels, classes)
    rows = [f"{name} | {np.mean(each):.1%} | {min(each):.1%} | {max(each):.1%}" for name, each in found.items()]
    return "\n\n".join(
        [
            f"Wrong labels: {count} of {len(pixels)} flipped, recall among the {count} most suspect "
            f"({FLIP_SEEDS} draws).",
            table("score | mean recall | lowest | highest", rows),
            f"`python -m service diagnose` reports {page} of the {count} among {shown} suspected label errors.",
        ]
    )


def suspicion(model: OfflineModel, pixels: Pixels, labels: Classes) -> dict[str, Floats]:
    """Return every score, turned so that high is suspect."""
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


def flipped(labels: Classes, classes: int, seed: int) -> tuple[Classes, Classes]:
    """Return labels of which 5 % are wrong, evenly among the other classes, and which ones."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(labels), round(FLIP_SHARE * len(labels)), replace=False)
    wrong = labels.copy()
    wrong[chosen] = (labels[chosen] + random.integers(1, classes, len(chosen))) % classes
    return wrong, chosen


def recall(suspect: Floats, chosen: Classes) -> float:
    """Return the share of the flipped among as many of the most suspect as were flipped."""
    top = np.argsort(-suspect, kind="stable")[: len(chosen)]
    return float(np.isin(chosen, top).mean())


def on_the_first_page(model: OfflineModel, pixels: Pixels, labels: Classes) -> tuple[int, int]:
    """Return how many flipped images are among the suspected label errors of the HTML report, and how many it has."""
    names = model.bundle.labels
    wrong, chosen = flipped(labels, len(names), seed=0)
    with tempfile.TemporaryDirectory() as temporary:
        data, report = Path(temporary) / "data", Path(temporary) / "report.html"
        for index, (image, label) in enumerate(zip(pixels, wrong, strict=True)):
            (data / names[label]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(data / names[label] / f"{index:05}.png")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            arguments = ("--bundle", model.stored.directory, "--data", data, "--out", report)
            if diagnose.main(list(map(str, arguments))):
                raise RuntimeError("diagnose failed")
        section = report.read_text().split("<h2>Suspected label errors</h2>")[1].split("<h2>")[0]
    shown = {int(number) for number in re.findall(r"/(\d{5})\.png", section)}
    return len(shown & set(chosen.tolist())), len(shown)
