"""How often the altered layer is found to have changed the loss most → docs/reports/changed-layers.md.

About half an hour on one core.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, product, takewhile, zip_longest
from math import inf
from pathlib import Path

import numpy as np

from bench.changed_layers.altering import ALTERATIONS, BACKGROUNDS, Training
from bench.changed_layers.judging import Judged, Judging
from bench.changed_layers.versions import Versions
from bench.harness.page import made_by, parser_of, publish, table
from bench.harness.paths import DOCS, SHIPPED
from bench.scores.__main__ import load
from service.contract.runtime.opening import Runtime
from service.diagnostics.versions.intervals import wilson
from service.images.preprocess import normalise
from service.offline.model import OfflineModel

COMMAND = "python -m bench.changed_layers"
NETWORKS = {"resnet20": 94, "plain20": 94, "resnet56": 12}
"""Network → how many versions of it are judged."""
SIZES = ("strong", "faint")
MEASURABLE = 1e-3
"""Nats by which the altered layer alone changes the mean loss, where it is said to do so measurably."""
TRAINING_IMAGES = 1000


@dataclass(frozen=True)
class Trial:
    """One version: what was done, where the altered layer was ranked, and what it alone does to the mean loss."""

    network: str
    kind: str
    size: str
    background: str
    judged: Judged
    alone: float


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "reports" / "changed-layers.md")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/<label>/… and test/<label>/…")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--nets", type=int, help="versions of each network (default: 94, 94 and 12)")
    parser.add_argument("--names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--minutes", type=float, default=inf, help="after which no other version is begun")
    options = parser.parse_args()
    counts = {name: options.nets or NETWORKS.get(name, 1) for name in options.names}
    by_turns = zip_longest(*(measured(name, count, options.data, options.images) for name, count in counts.items()))
    end = time.monotonic() + 60 * options.minutes
    rounds = takewhile(lambda _: time.monotonic() < end, by_turns)
    trials = [trial for one_round in rounds for trial in one_round if trial is not None]
    publish(options, COMMAND, report(trials, options.images))


def measured(name: str, count: int, data: Path, images: int) -> Iterator[Trial]:
    """Judge so many versions of one network; layers, kinds and sizes are settled by the seed alone."""
    model = OfflineModel(SHIPPED / name, Runtime("cpu"))
    pixels, labels = load(data / "test", images, model)
    shown, classes = load(data / "train", TRAINING_IMAGES, model)
    training: Training = normalise(shown, model.bundle.input), classes
    versions, random = Versions(SHIPPED / name), np.random.default_rng(0)
    plan = cycle(product(BACKGROUNDS, SIZES, ALTERATIONS))
    with tempfile.TemporaryDirectory() as scratch:
        judging = Judging(versions.written({}, Path(scratch) / "old"), pixels, labels)
        for number, (background, size, kind) in zip(range(count), plan, strict=False):
            layer = str(random.choice(list(versions.weights)))
            altered = ALTERATIONS[kind][SIZES.index(size)](versions, layer, random, training).astype(np.float32)
            others = BACKGROUNDS[background](versions, random, training)
            only = versions.written({layer: altered}, Path(scratch) / "alone", ["forward"])
            alone = judging.loss(only) - judging.old_loss
            new = versions.written({**others, layer: altered}, Path(scratch) / "new")
            trial = Trial(name, kind, size, background, judging.judged(new, layer), alone)
            print(f"{number}: {name} {layer} {background} {size} {kind}: {trial.judged.by_loss} by loss, "
                  f"{trial.judged.by_norms} by norms, {alone:+.2g} alone", file=sys.stderr, flush=True)  # fmt: skip
            yield trial


def report(trials: Sequence[Trial], images: int) -> str:
    """Return the section of the page."""
    groups: list[tuple[str, Callable[[Trial], bool]]] = [
        ("all", lambda _: True),
        *((kind, lambda trial, kind=kind: trial.kind == kind) for kind in ALTERATIONS),
        *((size, lambda trial, size=size: trial.size == size) for size in SIZES),
        *((f"others: {one}", lambda trial, one=one: trial.background == one) for one in BACKGROUNDS),
        *((name, lambda trial, name=name: trial.network == name) for name in NETWORKS),
        (f"alone ≥ {MEASURABLE:g} nats", lambda trial: abs(trial.alone) >= MEASURABLE),
        (f"alone < {MEASURABLE:g} nats", lambda trial: abs(trial.alone) < MEASURABLE),
    ]
    rows = []
    for called, belongs in groups:
        if chosen := [trial for trial in trials if belongs(trial)]:
            by_loss = _share([trial.judged.by_loss == 1 for trial in chosen])
            by_norms = _share([trial.judged.by_norms == 1 for trial in chosen])
            complete = sum(trial.judged.change.complete for trial in chosen)
            rows.append(f"{called} | {len(chosen)} | {by_loss} | {by_norms} | {complete}")
    steps = [trial.judged.change.steps for trial in trials]
    header = "versions | number | altered layer first by change of loss | first by gradient norms | complete"
    return "\n\n".join([
        f"{made_by(COMMAND)}: {len(trials)} versions, {images} test images each.",
        table(header, rows),
        f"Steps: {', '.join(f'{count} in {steps.count(count)}' for count in sorted(set(steps)))}.",
    ])  # fmt: skip


def _share(hits: Sequence[bool]) -> str:
    low, high = wilson(sum(hits), len(hits))
    return f"{sum(hits) / len(hits):.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
