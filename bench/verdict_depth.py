"""The depth from which an untrained network with BatchNorm explodes and shatters → its section of docs/verdicts.md.

Minutes on two cores; `--depths 8 20 --seeds 1` is a short form.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.harness.page import add_options, publish, table
from bench.harness.paths import DOCS, PHOTOGRAPHS
from bench.verdicts.corpus import CLASSES, calibrate, convolutional, photographs
from bench.verdicts.judging import Images, diagnosis_of, exported
from bench.verdicts.report import counted
from bench.verdicts.shattered import shattering_of
from export.gradient import differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from service.diagnostics import shattering
from service.diagnostics.gradients import Diagnosis
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.verdict import profile_of

COMMAND = "python -m bench.verdict_depth"
FAMILIES = ("plain", "residual")
DEPTHS = (8, 14, 20, 26, 32, 44, 56)
IMAGES = 24


@dataclass(frozen=True)
class Measured:
    """One network: how its gradient grows over depth, and its verdicts."""

    first_over_last: float
    """Gradient of the first layers over that of the last."""
    per_layer: float
    """The same as a factor per layer."""
    state: str
    exponent: float
    """Spectral exponent of the input gradient along a path."""
    shattering: str


def measure(family: str, depth: int, seed: int, images: Images) -> Measured:
    torch.manual_seed(seed)
    network = convolutional(family, depth, "batch")
    calibrate(network, torch.from_numpy(images))
    labels = np.arange(len(images)) % CLASSES
    found = diagnosis_of(*exported(network), images, labels)
    prepared = prepare(forward_graph(network, images.shape[-1]), constants=constants_of(network))
    path = shattering_of(differentiate(prepared, "input_gradient"), images)
    profile = profile_of(evidence_of(found))
    assert profile is not None
    return Measured(
        10**profile.first_over_last,
        float(10**-profile.slope),
        found.verdict.state,
        path.spectral_exponent,
        shattering.judge_path(path).state,
    )


def evidence_of(found: Diagnosis) -> Evidence:
    relative = np.array([layer.relative_gradient_norm for layer in found.layers], np.float64).T
    unknown = np.full(len(found.layers), np.nan)
    return Evidence(
        names=[layer.name for layer in found.layers],
        depths=[layer.depth for layer in found.layers],
        relative=relative,
        saturated=np.zeros(len(relative), bool),
        dead_fraction=unknown,
        dead_images=0,
        mean_gradient=unknown,
    )


def row(family: str, depth: int, measured: Sequence[Measured]) -> str:
    """Return the figures of the seeds of one depth, as intervals."""

    def interval(values: Sequence[float], digits: str) -> str:
        low, high = (format(value, digits) for value in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"

    cells = (
        f"{family} {depth}",
        interval([one.first_over_last for one in measured], ".3g"),
        interval([one.per_layer for one in measured], ".2f"),
        counted(one.state for one in measured),
        interval([one.exponent for one in measured], ".2f"),
        counted(one.shattering for one in measured),
    )
    return " | ".join(cells)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=Path, default=PHOTOGRAPHS)
    add_options(parser, DOCS / "verdicts.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = photographs(options.images)[:IMAGES]
    rows = []
    for family in options.families:
        for depth in options.depths:
            rows.append(row(family, depth, [measure(family, depth, seed, images) for seed in range(options.seeds)]))
            print(rows[-1], flush=True)
    introduction = f"Made by `{' '.join([COMMAND, *arguments])}`: {options.seeds} untrained networks of each depth."
    header = "network with BatchNorm | first layers over last | per layer | verdict | spectral exponent | shattering"
    publish(options, COMMAND, f"{introduction}\n\n{table(header, rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
