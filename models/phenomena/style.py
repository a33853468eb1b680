"""The look of the figures: a palette for colour-blind readers too (Okabe & Ito 2008), and text kept as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#777777"
RESIDUAL, PLAIN = BLUE, VERMILION
BLUE_BY_DEPTH = ("#9ecae1", "#4292c6", "#2171b5", "#08306b")
VERMILION_BY_DEPTH = ("#fdbe85", "#fd8d3c", "#e6550d", "#8c2d04")
"""Both go from light to dark with depth, for up to four depths."""

SETTINGS: dict[Any, Any] = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.4,
    "figure.dpi": 100,
    "svg.fonttype": "none",
    "svg.hashsalt": "contraflow",
    "path.simplify_threshold": 0.3,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Apply `SETTINGS` to figures that are drawn and saved in the block, and restore the caller's afterwards."""
    with mpl.rc_context(SETTINGS):
        yield


def figure(
    title: str, columns: int, rows: int = 1, height: float = 3.6, width_ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Make a figure 10 inches wide whose title states the finding; return it and its axes in reading order."""
    made = Figure(figsize=(10, height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False, width_ratios=width_ratios)
    made.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    return made, [axis for row in axes for axis in row]


def mosaic(
    title: str, layout: list[Any], height: float, height_ratios: Sequence[float] | None = None
) -> tuple[Figure, dict[str, Axes]]:
    """Make such a figure with axes of different sizes, by name, as `Figure.subplot_mosaic` lays them out."""
    made = Figure(figsize=(10, height), layout="constrained")
    axes = made.subplot_mosaic(layout, height_ratios=height_ratios)
    made.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    return made, axes
