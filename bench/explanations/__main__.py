"""Deletion and insertion (Petsiuk et al. 2018) of explanations, beside RISE → docs/reports/explanations.md.

RISE takes 4,000 runs for each picture, half an hour for 500 pictures of a ResNet-20 on one core. `--cache` keeps its
maps, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.explanations.curves import areas
from bench.explanations.methods import Method, methods_of
from bench.explanations.network import Floats, Network
from bench.explanations.rise import MASKS, random_masks, rise_map, rise_maps
from bench.harness.machine import conditions
from bench.harness.page import parser_of, publish, table
from bench.harness.paths import DOCS, SHIPPED

COMMAND: Final = "python -m bench.explanations"
TIMED: Final = 3
"""Pictures on which each method is timed; the fastest counts."""
FEWER: Final = 200
"""Part of RISE's runs that a method may take to be recommended."""
Labels = NDArray[np.int64]
NORMAL: Final = 1.96
"""Half the width of an interval of 95 %, in standard errors."""


@dataclass(frozen=True)
class Row:
    """One method on all pictures: areas [n, 2] of deletion and insertion, runs and processor seconds per picture."""

    name: str
    areas: Floats
    runs: int
    seconds: float


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "explanations.md")
    parser.add_argument("--data", type=Path, required=True, help="folder with test/<label>/…")
    parser.add_argument("--bundles", type=Path, default=SHIPPED)
    parser.add_argument("--names", nargs="+", default=["resnet20"], help="of the bundles")
    parser.add_argument("--images", type=int, nargs="+", default=[500], help="for each bundle")
    parser.add_argument("--masks", type=int, default=MASKS, help="of RISE")
    parser.add_argument("--cache", type=Path, help="folder that keeps RISE's maps from run to run")
    options = parser.parse_args()
    parts = []
    for name, images in zip(options.names, options.images, strict=True):
        network = Network(options.bundles / name)
        rows = measured(network, options.data / "test", images, options.masks, options.cache)
        parts.append(section(network, rows))
    publish(options, COMMAND, "\n\n".join([f"{made(options.names, options.images)}. {conditions()}.", *parts]))


def made(names: list[str], images: list[int]) -> str:
    """Return the command in words, without the folders of the machine that it ran on."""
    return f"Made by `{COMMAND} --data DATA --names {' '.join(names)} --images {' '.join(map(str, images))}`"


def measured(network: Network, folder: Path, count: int, masks: int, cache: Path | None) -> list[Row]:
    """Measure RISE, which comes first, and every other method on the same pictures."""
    images, labels = network.photographs(folder, count)
    drawn = random_masks(masks, *images.shape[2:])
    rise = Method(lambda image, label: rise_map(network, image, label, drawn), masks)
    rows = [
        of_maps(
            network, images, labels, f"RISE, {masks:,} masks", rise, rise_maps(network, images, labels, drawn, cache)
        )
    ]
    for name, method in methods_of(network).items():
        maps = np.stack([method.find(*one) for one in zip(images, labels.tolist(), strict=True)])
        rows.append(of_maps(network, images, labels, name, method, maps))
        print(network.name, name, flush=True)
    return rows


def of_maps(network: Network, images: Floats, labels: Labels, name: str, method: Method, maps: Floats) -> Row:
    """Return the areas of the maps, and what they cost."""
    found = np.array([areas(network, *one) for one in zip(images, labels.tolist(), maps, strict=True)])
    return Row(name, found, method.runs, seconds_of(method, images, labels))


def seconds_of(method: Method, images: Floats, labels: Labels) -> float:
    """Return the processor time of one map: the fastest of a few pictures."""
    taken = []
    for image, label in zip(images[:TIMED], labels[:TIMED].tolist(), strict=True):
        start = time.process_time()
        method.find(image, label)
        taken.append(time.process_time() - start)
    return min(taken)


def section(network: Network, rows: list[Row]) -> str:
    """Return the table of one network, and in words which methods are as good as RISE."""
    rise = rows[0]
    lines = [f"{row.name} | {cells(row, rise)} | {row.runs:,} | {milliseconds(row.seconds)}" for row in rows]
    header = "map | deletion ↓ | less RISE's | insertion ↑ | less RISE's | runs per picture | ms per picture"
    title = f"## {network.name}: {len(rise.areas)} photographs"
    return "\n\n".join([title, table(header, lines), verdict(rows)])


def cells(row: Row, rise: Row) -> str:
    """Return the means of both areas, each with the mean difference to RISE's on the same pictures."""
    written = []
    for own, other in zip(row.areas.T, rise.areas.T, strict=True):
        mean, half = interval(own - other)
        difference = "" if row is rise else f"{mean:+.3f} ± {half:.3f}"
        written += ["{:.3f} ± {:.3f}".format(*interval(own)), difference]
    return " | ".join(written)


def interval(values: Floats) -> tuple[float, float]:
    """Return the mean, and half the width of its interval of 95 % over pictures."""
    return float(values.mean()), NORMAL * float(values.std(ddof=1)) / len(values) ** 0.5


def verdict(rows: list[Row]) -> str:
    """Return which methods the pictures cannot tell from RISE, or show to be better, with at most 1/200 of its runs."""
    rise = rows[0]
    few = [row for row in rows[1:] if 0 < row.runs <= rise.runs / FEWER]
    good = [row.name for row in few if as_good(row, rise)]
    named = "; ".join(good) or "none"
    return (
        f"With at most 1/{FEWER} of RISE's runs, better than RISE or not to be told from it, on deletion and on "
        f"insertion: {named}."
    )


def as_good(row: Row, rise: Row) -> bool:
    """Tell whether the method's areas are not worse than RISE's, or by less than half the width of the interval."""
    deletion, insertion = (interval(own - other) for own, other in zip(row.areas.T, rise.areas.T, strict=True))
    return deletion[0] <= deletion[1] and insertion[0] >= -insertion[1]


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.01 else f"{1e3 * seconds:.2g}"


if __name__ == "__main__":
    main()
