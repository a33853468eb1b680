"""`python -m bench.explanation`: what an explanation costs, in forward runs → docs/reports/gradients.md.

Forward pass, explanations of several depths and the plain gradient of the image run in turn, on one thread, by the
processor time of that thread. The networks are shipped ones, and any classifiers in ONNX files that are named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from bench.harness.page import made_by, parser_of, publish, table
from bench.harness.paths import DOCS, SHIPPED
from export.gradient import Prepared, differentiate, prepare

COMMAND = "python -m bench.explanation"
NETWORKS = ("resnet20", "resnet56")
HEADER = "network | images | forward, ms | last map | the one before | half the depth | first map | the image"
QUANTILE = 20
"""Percentile of the runs that is taken, for whatever else the machine does only adds to them."""
Run = Callable[[], object]


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "gradients.md")
    parser.add_argument("--only", nargs="*", choices=NETWORKS, default=list(NETWORKS), help="shipped networks")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="classifiers in ONNX files")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8], help="images per run (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row (default: %(default)s)")
    options = parser.parse_args()
    rows = []
    for file in (*(SHIPPED / name / "forward.onnx" for name in options.only), *options.files):
        name = file.parent.name if file.name == "forward.onnx" else file.stem
        prepared = prepare(onnx.load(file))
        runs = sessions(prepared)
        for batch in options.batches:
            rows.append(row(f"{name} | {batch}", runs_of(runs, prepared, batch), options.seconds))
            print(rows[-1], flush=True)
    said = f"{made_by(COMMAND)}; one thread. All but the forward pass in forward runs."
    publish(options, COMMAND, f"{said}\n\n{table(HEADER, rows)}")


def sessions(prepared: Prepared) -> dict[str, onnxruntime.InferenceSession]:
    """Open the forward graph and the explanation as the service does, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    models = {"forward": prepared.forward, "explanation": differentiate(prepared, "explanation")}
    return {
        name: onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for name, model in models.items()
    }


def runs_of(opened: Mapping[str, onnxruntime.InferenceSession], prepared: Prepared, batch: int) -> list[Run]:
    """Return the runs of a row: the forward pass, then explanations as the table's header has them."""
    images = np.random.default_rng(0).normal(size=(batch, *prepared.image_shape)).astype(np.float32)
    feeds = {"input": images, "label": np.full(batch, -1), "cotangent_scale": np.ones(batch, np.float32)}
    mapped = [index for index, found in enumerate(prepared.maps) if found]
    chosen = (mapped[-1], mapped[-2], mapped[len(mapped) // 2], mapped[0], -1)

    def explained(layer: int) -> Run:
        return lambda: opened["explanation"].run(None, {**feeds, "layer": np.array([layer])})

    return [lambda: opened["forward"].run(None, {"input": images}), *map(explained, chosen)]


def row(name: str, runs: list[Run], seconds: float) -> str:
    times: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    began = time.monotonic()
    while time.monotonic() - began < seconds or len(times[0]) < 3:
        for run, taken in zip(runs, times, strict=True):
            started = time.thread_time()
            run()
            taken.append(time.thread_time() - started)
    forward, *others = (float(np.percentile(taken, QUANTILE)) for taken in times)
    return " | ".join([name, f"{1e3 * forward:.2f}", *(f"{other / forward:.2f}" for other in others)])


if __name__ == "__main__":
    main()
