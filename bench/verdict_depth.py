"""From what depth an untrained plain network with BatchNorm explodes and shatters → its section of docs/verdicts.md.

Minutes on two cores; `--depths 8 20 --seeds 1` is a short form.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.corpus import CLASSES, calibrate, convolutional, photographs
from bench.page import replace_section
from bench.verdicts import diagnosis_of, exported, shattering_of
from export.gradient import differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from service.diagnostics import shattering
from service.diagnostics.gradients import Diagnosis
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.verdict import Thresholds, profile_of

Array = NDArray[Any]

COMMAND = "python -m bench.verdict_depth"
FAMILIES = ("plain", "residual")
DEPTHS = (8, 14, 20, 26, 32, 44, 56)
THEORY = 1.21
"""√(π/(π−1)) per layer: wide fully connected layers with BatchNorm and rectifiers (Yang et al. 2019)."""


@dataclass(frozen=True)
class Measured:
    """One network: gradient of the first layers over the last, its factor per layer, verdicts, spectral exponent."""

    first_over_last: float
    per_layer: float
    state: str
    exponent: float
    shattering: str


def measure(family: str, depth: int, seed: int, images: Array) -> Measured:
    torch.manual_seed(seed)
    network = convolutional(family, depth, "batch")
    calibrate(network, torch.from_numpy(images))
    labels = np.arange(len(images)) % CLASSES
    found = diagnosis_of(*exported(network), images, labels)
    prepared = prepare(forward_graph(network, images.shape[-1]), constants=constants_of(network))
    path = shattering_of(differentiate(prepared, "input_gradient"), images)
    profile = profile_of(_evidence(found))
    assert profile is not None
    return Measured(
        10**profile.first_over_last,
        float(10**-profile.slope),
        found.verdict.state,
        path.spectral_exponent,
        shattering.judge(path).state,
    )


def _evidence(found: Diagnosis) -> Evidence:
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
    def interval(values: Sequence[float], digits: str) -> str:
        low, high = (format(value, digits) for value in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"

    def states(values: Sequence[str]) -> str:
        return ", ".join(f"{state} {values.count(state)}" for state in dict.fromkeys(values))

    return (
        f"| {family} {depth} | {interval([one.first_over_last for one in measured], '.3g')} | "
        f"{interval([one.per_layer for one in measured], '.2f')} | {states([one.state for one in measured])} | "
        f"{interval([one.exponent for one in measured], '.2f')} | {states([one.shattering for one in measured])} |"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=Path, default=Path("tests/images"))
    parser.add_argument("--page", type=Path, default=Path("docs/verdicts.md"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = photographs(options.images)[:24]
    ratio = Thresholds().growth_ratio
    lines = [
        f"Made by `{' '.join([COMMAND, *arguments])}`: {options.seeds} untrained networks of each depth, statistics",
        f"calibrated on 24 photographs. *Exploding* takes a growth of {ratio:g} from the last layers to the first;",
        f"*shattered* a spectral exponent below {shattering.SHATTERED:g}. Theory for wide fully connected layers: "
        f"{THEORY} per layer.",
        "",
        "| network with BatchNorm | first layers over last | per layer | verdict | spectral exponent | shattering |",
        "|---|---|---|---|---|---|",
    ]
    for family in options.families:
        for depth in options.depths:
            measured = [measure(family, depth, seed, images) for seed in range(options.seeds)]
            lines.append(row(family, depth, measured))
            print(lines[-1], flush=True)
            replace_section(options.page, COMMAND, "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
