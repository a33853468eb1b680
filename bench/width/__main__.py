"""`python -m bench.width`: what a lone run gains by every core, and what that costs → docs/reports/serving.md.

Each graph is opened in a process of its own, as the service opens it, and run with one image: on one thread and on as
many as there are cores, in turn, by the wall clock. It takes about two minutes and wants a machine with nothing else
to do.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.bundles.untrained import write_resnet50
from bench.harness.apart import call_apart
from bench.harness.machine import conditions
from bench.harness.page import parser_of, publish, table
from bench.harness.paths import DOCS, SHIPPED
from bench.width.sessions import measured, unshared

COMMAND = "python -m bench.width"
NETWORKS = ("resnet20", "resnet56", "resnet50")
GRAPHS = ("forward", "activation_norms", "weight_norms")
HEADER = (
    "network | graph | one thread, ms | every core, ms | × faster | the service takes | "
    "images/s, a thread on each core | images/s, every core for each run | "
    "MB of one session | of both | of two that share nothing"
)


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "serving.md")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each timing (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=NETWORKS, default=list(NETWORKS), help="names of networks")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        if "resnet50" in options.only:
            call_apart(write_resnet50, scratch)
        for name in options.only:
            folder = Path(scratch) / name if name == "resnet50" else SHIPPED / name
            for graph in GRAPHS:
                file = str(folder / f"{graph}.onnx")
                rows.append(row(name, graph, call_apart(measured, file, options.seconds), call_apart(unshared, file)))
                print(rows[-1], flush=True)
    publish(options, COMMAND, f"{conditions()}; one image per run.\n\n{table(HEADER, rows)}")


def row(name: str, graph: str, found: dict[str, Any], unshared_mb: float) -> str:
    one, wide = found["one"], found["wide"]
    taken = "every core" if found["pays"] else "one thread"
    rates = f"{found['rate_of_one']:.1f} | {found['rate_of_wide']:.1f}"
    memory = f"{found['mb_of_one']:.0f} | {found['mb_of_both']:.0f} | {unshared_mb:.0f}"
    return f"{name} | {graph} | {1e3 * one:.2f} | {1e3 * wide:.2f} | {one / wide:.2f} | {taken} | {rates} | {memory}"


if __name__ == "__main__":
    main()
