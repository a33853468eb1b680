"""The verdict on shattering with fewer and with more points than 64 → its section of docs/reports/verdicts.md.

It is held against untrained networks, some of which are near a bound. Minutes on one core; `--depths 8 --seeds 1` is a
short form.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import torch

from bench.harness.page import made_by, parser_of, publish, table
from bench.harness.paths import DOCS
from bench.verdicts.corpus import photographs
from bench.verdicts.judging import Images
from bench.verdicts.shattered import path_measures, untrained_graph
from service.diagnostics.shattering.points import POINTS
from service.diagnostics.shattering.verdict import SHATTERED, SMOOTH, bound_at, state_of

COMMAND = "python -m bench.verdict_points"
NUMBERS = (16, 24, 32, 48, 128, 256)
ENDS = ((3, 11), (0, 5), (7, 20))
"""Pairs of photographs, by their positions."""
DEPTHS = {"plain": (8, 14, 20, 26, 32), "residual": (20, 56, 110)}


def graphs(images: Images, depths: list[int] | None, seeds: int) -> Iterator[onnx.ModelProto]:
    """Yield graphs of untrained networks that give the input gradient."""
    for family, usual in DEPTHS.items():
        for depth in usual:
            if depths is None or depth in depths:
                yield from (untrained_graph(family, depth, images, seed) for seed in range(seeds))


def row(points: int, exponents: list[tuple[float, float]]) -> str:
    """Return how often the verdict is that of 64 points: `exponents` with 64 points and with `points`, by path."""
    bounds = bound_at(points, SHATTERED), bound_at(points, SMOOTH)
    truth = [state_of(usual, SHATTERED, SMOOTH) for usual, _ in exponents]
    same = sum(state_of(found, *bounds) == true for (_, found), true in zip(exponents, truth, strict=True))
    same_bounds = sum(
        state_of(found, SHATTERED, SMOOTH) == true for (_, found), true in zip(exponents, truth, strict=True)
    )
    off = [
        min(abs(usual - SHATTERED), abs(usual - SMOOTH))
        for (usual, found), true in zip(exponents, truth, strict=True)
        if state_of(found, *bounds) != true
    ]
    furthest = f"{max(off):.2f}" if off else "–"
    of = len(exponents)
    return f"{points} | {bounds[0]:.2f} and {bounds[1]:.2f} | {same} of {of} | {furthest} | {same_bounds} of {of}"


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "verdicts.md")
    parser.add_argument("--depths", type=int, nargs="+", help="of the untrained networks (default: 8 to 110)")
    parser.add_argument("--seeds", type=int, default=2, help="untrained networks of each depth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = photographs()
    exponents: dict[int, list[tuple[float, float]]] = {points: [] for points in NUMBERS}
    undetermined = 0
    for graph in graphs(images, options.depths, options.seeds):
        for ends in ENDS:
            usual = path_measures(graph, images, ends, POINTS).spectral_exponent
            if not np.isfinite(usual):
                undetermined += 1
                continue
            for points, found in exponents.items():
                found.append((usual, path_measures(graph, images, ends, points).spectral_exponent))
    introduction = f"{made_by(COMMAND)}: {len(exponents[NUMBERS[0]])} paths, and {undetermined} without a verdict."
    header = (
        "points | bounds carried over | verdicts as with 64 points | exponent with 64 points of the others, from the "
        "bound, at most | verdicts as with 64 points if bounds stayed at 0.5 and 1"
    )
    rows = [row(points, found) for points, found in exponents.items()]
    publish(options, COMMAND, f"{introduction}\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
