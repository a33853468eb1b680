"""Theorems 1 to 3 of Balduzzi et al. 2017 on shattered gradients, beside measurements; a part of section 6."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes

from models.networks.scalar_nets import independent_input_correlation
from models.phenomena import style
from models.phenomena.section import Statement

BRANCH_SCALE = 0.1
"""β of the residual nets of section 6."""


@dataclass(frozen=True)
class Law:
    """A theorem on the correlation of two independent inputs' gradients, beside measurements by depth.

    `measured` holds a correlation and its standard error.
    """

    family: str
    normalization: str
    branch_scale: float
    formula: str
    predicted: dict[int, float]
    measured: dict[int, tuple[float, float]]

    def deviation(self, depth: int) -> float:
        """Return the measured over the predicted correlation, less 1."""
        return self.measured[depth][0] / self.predicted[depth] - 1


def measure_laws(draws: int) -> dict[str, Law]:
    """Measure what the paper's theorems 1 to 3 predict, on nets of width 200 and independent inputs."""
    plain, residual, deep = (1, 2, 4, 6, 8), (1, 2, 4, 8, 12), (1, 4, 16, 32, 50)

    def law(family: str, normalization: str, scale: float, formula: str, predicted: dict[int, float]) -> Law:
        measured = {
            depth: independent_input_correlation(family, depth, normalization, scale, draws) for depth in predicted
        }
        return Law(family, normalization, scale, formula, predicted, measured)

    halving = {depth: 0.5**depth for depth in plain}
    three_quarters = {depth: 0.75**depth for depth in residual}

    def root(scale: float) -> dict[int, float]:
        return {depth: 1 / math.sqrt(1 + scale**2 * depth) for depth in deep}

    return {
        "plain, BN": law("plain", "batch", 0.0, "1/2ᴸ", halving),
        "plain, not centred": law("plain", "none", 0.0, "1/2ᴸ", halving),
        "residual, no BN": law("residual", "none", 1.0, "(3/4)ᴸ", three_quarters),
        "residual, BN, β = 1": law("residual", "batch", 1.0, "1/√(1 + β²L)", root(1.0)),
        "residual, BN, β = 0.1": law("residual", "batch", BRANCH_SCALE, "1/√(1 + β²L)", root(BRANCH_SCALE)),
    }


def law_statements(laws: dict[str, Law]) -> tuple[Statement, ...]:
    """State where the theorems hold, and where they fail."""
    return (
        Statement(
            "halving_holds",
            "theorem 1, plain: correlation 1/2ᴸ. With BatchNorm, largest deviation for L ≤ 6, as a share",
            max(abs(laws["plain, BN"].deviation(depth)) for depth in (1, 2, 4, 6)),
            "≤",
            0.25,
        ),
        Statement(
            "halving_fails_uncentred",
            "theorem 1 without centering or BatchNorm fails: measured over predicted at L = 8",
            laws["plain, not centred"].deviation(8) + 1,
            "≥",
            4.0,
        ),
        Statement(
            "three_quarters_holds",
            "theorem 2, residual without BatchNorm: (3/4)ᴸ. Largest deviation for L ≤ 2, as a share",
            max(abs(laws["residual, no BN"].deviation(depth)) for depth in (1, 2)),
            "≤",
            0.1,
        ),
        Statement(
            "three_quarters_fails",
            "beyond, it fails: measured over predicted at L = 8",
            laws["residual, no BN"].deviation(8) + 1,
            "≥",
            1.5,
        ),
        Statement(
            "root_holds_small",
            "theorem 3, residual with BatchNorm, as 1/√(1 + β²L). At β = 0.1, largest deviation for L ≤ 50, as a share",
            max(abs(laws["residual, BN, β = 0.1"].deviation(depth)) for depth in (1, 4, 16, 32, 50)),
            "≤",
            0.06,
        ),
        Statement(
            "root_holds_one",
            "at β = 1, largest deviation for L ≤ 32, as a share",
            max(abs(laws["residual, BN, β = 1"].deviation(depth)) for depth in (1, 4, 16, 32)),
            "≤",
            0.45,
        ),
    )


def draw_laws(axis: Axes, laws: dict[str, Law]) -> None:
    """Draw the measured correlations as dots and the theorems as lines."""
    colours = (style.PLAIN, style.PURPLE, style.GREEN, style.SKY, style.RESIDUAL)
    for (name, law), colour in zip(laws.items(), colours, strict=True):
        means, errors = zip(*law.measured.values(), strict=True)
        axis.errorbar(
            list(law.measured), means, yerr=errors, color=colour, marker="o", markersize=3.5, linestyle="none"
        )
        axis.plot(list(law.predicted), list(law.predicted.values()), color=colour, label=f"{name}: {law.formula}")
    axis.set(
        title="two independent inputs (dots: measured, lines: theorem)",
        xscale="log",
        yscale="log",
        ylim=(2e-3, 1.3),
        xlabel="hidden layers L",
        ylabel="correlation of gradients",
    )
    axis.set_xticks([1, 2, 4, 8, 16, 32, 50], ["1", "2", "4", "8", "16", "32", "50"])
    axis.minorticks_off()
    axis.legend(loc="lower left", fontsize=7.5)
