"""`make bench-gradients`: the cost of gradient norms on a CPU, as ratios to the forward run → docs/performance.md.

Everything in a table is measured in one process, one thread each, in turn. Before anything is
timed, the norms are compared with torch in float64. All of it takes about ten minutes.
"""

from __future__ import annotations

from functools import partial
from importlib import metadata

import onnxruntime
import torch

from bench.bundles.networks import RESNET50_SIZE, catalogue, resnet50
from bench.gradients import tables
from bench.gradients.measure import measure
from bench.harness.machine import machine
from bench.harness.page import parser_of, publish
from bench.harness.paths import DOCS

COMMAND = "make bench-gradients"
SUBJECTS = {
    "resnet20": (partial(catalogue, "resnet20"), 32, (1, 8, 32)),
    "resnet56": (partial(catalogue, "resnet56"), 32, (1, 8, 32)),
    "resnet50": (partial(resnet50, images=4), RESNET50_SIZE, (1, 4)),
}
"""Networks to measure: what builds them, the size of their images, and at which batches."""
PEERS = {"BackPACK": "backpack-for-pytorch", "Opacus": "opacus", "onnx-ad": "onnx-ad"}
"""The packages that we compare with, and their names on PyPI."""


def main() -> None:
    parser = parser_of("python -m bench.gradients", __doc__, DOCS / "performance.md")
    parser.add_argument("--seconds", type=float, default=40.0, help="of timing per table (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=SUBJECTS, default=list(SUBJECTS), help="names of networks")
    parser.add_argument("--batches", nargs="*", type=int, help="instead of each network's own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    measured = []
    for name in options.only:
        build, size, batches = SUBJECTS[name]
        for batch in options.batches or batches:
            measured.append(measure(name, build(), size, batch, options.seconds))
            print(tables.markdown(measured[-1]), flush=True)
    publish(options, COMMAND, tables.section(conditions(), measured))


def conditions() -> str:
    """Return the machine and the versions, in one sentence."""
    versions = [f"ONNX Runtime {onnxruntime.__version__}", f"torch {torch.__version__}"]
    for name, package in PEERS.items():
        try:
            versions.append(f"{name} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"without {name}")
    return f"Measured on {machine()}, one thread; {', '.join(versions)}."


if __name__ == "__main__":
    main()
