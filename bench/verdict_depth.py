"""The depth from which an untrained network with BatchNorm explodes and shatters.

It writes a section of docs/reports/verdicts.md. Minutes on two cores; `--depths 8 20 --seeds 1` is a short form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bench.bundles.networks import settled
from bench.harness.page import made_by, parser_of, publish, table
from bench.harness.paths import DOCS
from bench.verdicts.corpus import CLASSES, convolutional, photographs
from bench.verdicts.judging import Images, diagnosis_of, exported
from bench.verdicts.report import counted
from bench.verdicts.shattered import shattering_of
from export.gradient import differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from service.diagnostics.gradients import Diagnosis
from service.diagnostics.shattering.verdict import judge_path
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.profile import profile_of

COMMAND = "python -m bench.verdict_depth"
FAMILIES = ("plain", "residual")
DEPTHS = (8, 14, 20, 26, 32, 44)


def measure(family: str, depth: int, seed: int, images: Images) -> tuple[float, float, str, float, str]:
    """Measure one network.

    Returns the gradient of the first layers over that of the last, the same as a factor per layer, the verdict, the
    spectral exponent of the input gradient along a path, and the verdict on shattering.
    """
    torch.manual_seed(seed)
    network = settled(convolutional(family, depth, "batch"), torch.from_numpy(images))
    found = diagnosis_of(*exported(network), images, np.arange(len(images)) % CLASSES)
    prepared = prepare(forward_graph(network, images.shape[-1]), constants=constants_of(network))
    path = shattering_of(differentiate(prepared, "input_gradient"), images)
    profile = profile_of(evidence_of(found))
    assert profile is not None
    growth = 10**profile.first_over_last, float(10**-profile.slope)
    return *growth, found.verdict.state, path.spectral_exponent, judge_path(path).state


def evidence_of(found: Diagnosis) -> Evidence:
    """Return the gradients alone, without activations and without what Debugger's rules look at."""
    relative = np.array([layer.relative_gradient_norm for layer in found.layers], np.float64).T
    names, depths = [layer.name for layer in found.layers], [layer.depth for layer in found.layers]
    unknown, count = np.full(len(found.layers), np.nan), len(relative)
    none, all_of_them = np.zeros(count, bool), np.ones(count, bool)
    return Evidence(names, depths, relative, none, all_of_them, np.zeros(len(found.layers), bool), unknown, 0, unknown)


def interval(values: Sequence[float], digits: str) -> str:
    """Return the least and the greatest value, once if they look the same."""
    low, high = (format(value, digits) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "verdicts.md")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES[:1])
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = photographs()
    rows = []
    for family in options.families:
        for depth in options.depths:
            networks = [measure(family, depth, seed, images) for seed in range(options.seeds)]
            growth, per_layer, states, exponents, shattered = zip(*networks, strict=True)
            cells = (interval(growth, ".3g"), interval(per_layer, ".2f"), counted(states), interval(exponents, ".2f"))
            rows.append(" | ".join([f"{family} {depth}", *cells, counted(shattered)]))
            print(rows[-1], flush=True)
    introduction = f"{made_by(COMMAND)}: {options.seeds} untrained networks of each depth."
    header = "network with BatchNorm | first layers over last | per layer | verdict | spectral exponent | shattering"
    publish(options, COMMAND, f"{introduction}\n\n{table(header, rows)}")


if __name__ == "__main__":
    main()
