"""Foreign images told from known ones: AUROC and FPR95 of each score, beside nearest neighbours on features."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from bench.harness.page import table
from bench.scores.images import foreign_images
from service.bundles.reference import read_reference
from service.contract.arrays import Pixels
from service.contract.loss import probabilities
from service.diagnostics import scores
from service.offline.model import OfflineModel

Floats = NDArray[np.floating]

NEIGHBOURS = 50
FOREIGN = 300


def section(model: OfflineModel, known: Pixels, train_features: Floats) -> str:
    """Return the table of all scores and kinds of foreign images, and the best score for each kind."""
    familiar = familiarity(model, known, train_features)
    kinds = foreign_images(known[:: max(1, len(known) // FOREIGN)][:FOREIGN])
    strange = {kind: familiarity(model, pixels, train_features) for kind, pixels in kinds.items()}
    areas = {
        kind: {name: auroc(own, scored[name]) for name, own in familiar.items()} for kind, scored in strange.items()
    }
    rows = []
    for name, own in familiar.items():
        cells = [f"{100 * areas[kind][name]:.1f} / {100 * fpr95(own, strange[kind][name]):.1f}" for kind in kinds]
        mean = np.mean([areas[kind][name] for kind in kinds])
        rows.append(" | ".join([name, *cells, f"{100 * mean:.1f}"]))
    best = "; ".join(f"{kind}: {max(each, key=each.__getitem__)}" for kind, each in areas.items())
    header = " | ".join(["score", *kinds, "mean AUROC"])
    return f"Foreign images: AUROC / FPR95, in per cent.\n\n{table(header, rows)}\n\nBest by AUROC: {best}."


def familiarity(model: OfflineModel, pixels: Pixels, train_features: Floats) -> dict[str, Floats]:
    """Return every score, turned so that high is familiar."""
    norms = asyncio.run(model.run("weight_norms", pixels))
    reference = read_reference(model.stored)
    found = {
        "max probability": probabilities(norms["logits"]).max(axis=1),
        "energy": scores.energy(norms["logits"]),
        "GradNorm": scores.gradnorm(norms["logits"], norms["features"]),
        "nearest neighbours on features": -neighbour_distance(norms["features"], train_features),
    }
    if reference is not None:
        found["distance of the layer norms"] = -scores.layer_norm_distance(norms, reference)
    return found


def neighbour_distance(features: Floats, train_features: Floats) -> Floats:
    """Return the distance to the 50th nearest training image, on features of unit length (Sun et al. 2022)."""
    unit, train = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (features, train_features)
    )
    similarity: Floats = unit @ train.T
    return -np.partition(similarity, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]


def auroc(known: Floats, foreign: Floats) -> float:
    """Return the chance that a known image has the higher score; ties count half."""
    both = np.concatenate([known, foreign])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[: len(known)].sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(foreign)))


def fpr95(known: Floats, foreign: Floats) -> float:
    """Return the share of foreign images at or above the score that 95 % of the known ones reach."""
    return float(np.mean(foreign >= np.quantile(known, 0.05)))
