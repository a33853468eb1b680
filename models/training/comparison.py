"""`python -m models recipes`: train with each option of the recipe alone, and compare the errors on held-out images.

Test images choose nothing: a recipe is chosen by training images that no run is trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from models.networks.network import CATALOGUE, architecture
from models.training.command import add_device
from models.training.comparison_page import Result, require_place, section, write_section
from models.training.data import DataSet, Split, faults_of, hold_out, load
from models.training.recipe import SGD, Recipe
from models.training.train import TIMING_FILE, Training

BASE: Final = "base"
CHANGES: Final[dict[str, tuple[str, Callable[[Recipe], Recipe]]]] = {
    BASE: ("SGD, mirrored at random, no average", lambda base: base),
    "alternate": ("each image mirrored in every other epoch", lambda base: replace(base, mirror="alternate")),
    "smoothing": ("label smoothing 0.1", lambda base: replace(base, label_smoothing=0.1)),
    "filters-decay": (
        "no weight decay on BatchNorm and biases",
        lambda base: replace(base, decay_norms_and_biases=False),
    ),
    "averaging-99": ("averaged weights, decay 0.99", lambda base: replace(base, averaging=0.99)),
    "averaging-999": ("averaged weights, decay 0.999", lambda base: replace(base, averaging=0.999)),
    "muon": ("Muon on the filters, rate 0.05", lambda base: replace(base, optimizer="muon", muon_learning_rate=0.05)),
    "muon-slow": (
        "Muon on the filters, rate 0.02",
        lambda base: replace(base, optimizer="muon", muon_learning_rate=0.02),
    ),
    "muon-fast": (
        "Muon on the filters, rate 0.1",
        lambda base: replace(base, optimizer="muon", muon_learning_rate=0.1),
    ),
    "batch-128": ("half the batch and rate", lambda base: _batch_scaled(base, 0.5)),
    "batch-512": ("twice the batch and rate", lambda base: _batch_scaled(base, 2)),
    "full-size": ("no small images", lambda base: replace(base, small_until=0.0)),
    "longer": ("twice the epochs", lambda base: replace(base, epochs=2 * base.epochs)),
    "decay-0.001": ("weight decay 0.001", lambda base: replace(base, weight_decay=1e-3)),
    "decay-0.0002": ("weight decay 0.0002", lambda base: replace(base, weight_decay=2e-4)),
}
"""Name of each option → what it is in words, and the recipe that it makes of the base."""


def _batch_scaled(base: Recipe, factor: float) -> Recipe:
    """Scale the batch, and the learning rates with it."""
    return replace(
        base,
        batch_size=int(base.batch_size * factor),
        learning_rate=base.learning_rate * factor,
        muon_learning_rate=base.muon_learning_rate * factor,
    )


def changed(base: Recipe, name: str) -> Recipe:
    """Apply an option, or several whose names are joined by `+`, to the base.

    Raises:
        ValueError: an option is unknown.
    """
    for part in name.split("+"):
        if part not in CHANGES:
            raise ValueError(f"unknown option {part!r}; known: {', '.join(CHANGES)}")
        base = CHANGES[part][1](base)
    return base


def in_words(name: str) -> str:
    """Say what an option, or several joined by `+`, does."""
    return ", ".join(CHANGES[part][0] for part in name.split("+"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `recipes`."""
    parser.add_argument("--data", type=Path, required=True, help="data set, as for `train`")
    parser.add_argument("--data-name", default=None, help="what the page calls it (default: its file name)")
    parser.add_argument("--model", default="resnet20", choices=CATALOGUE, metavar="NAME", help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of the base (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds (default: %(default)s)")
    parser.add_argument(
        "--hold-out", type=int, default=5000, help="training images that are held out (default: %(default)s)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="OPTION",
        default=None,
        help=f"compare only these with the base, or several together, as muon+alternate; {', '.join(CHANGES)}",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("models/runs/recipes"), help="folder of the runs (default: %(default)s)"
    )
    add_device(parser)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no run after so many minutes (default: no limit)"
    )
    parser.add_argument("--page", type=Path, default=Path("docs/reports/training.md"), help="(default: %(default)s)")
    parser.add_argument("--print", action="store_true", help="leave the page alone")


@dataclass(frozen=True)
class Runs:
    """All that the runs of a comparison share; each is kept in a folder of its own below `folder`, and not repeated."""

    model: str
    base: Recipe
    data: DataSet
    held_out: Split
    data_name: str
    folder: Path
    device: str

    def result(self, name: str, seed: int) -> Result:
        """Train with one option and one seed, unless this was done before."""
        recipe = changed(self.base, name)
        folder = self.folder / f"{self.model}-{self.base.epochs}" / f"{name}-{seed}"
        training = Training(
            self.model,
            architecture(self.model),
            recipe,
            self.data,
            self.data_name,
            folder,
            seed,
            self.device,
            self.held_out,
        )
        record = training.run()
        timing = json.loads((folder / TIMING_FILE).read_text())
        return Result(
            name,
            seed,
            held_out_error=float(record["held_out"]["error"]),
            train_error=float(record["final"]["train_error"]),
            seconds_per_epoch=sum(timing["seconds"]) / len(timing["seconds"]),
            device=str(timing["device"]),
        )


def run(options: argparse.Namespace) -> int:
    """Train with every option and seed, and write the table; return 1 if a run failed.

    After every run the table is written anew, so that what is done stays if the command is stopped.
    """
    base = replace(SGD, epochs=options.epochs)
    names = [BASE, *(name for name in options.only or CHANGES if name != BASE)]
    for name in names:
        changed(base, name)
    if not options.print:
        require_place(options.page)
    with faults_of(options.data):
        data, held_out = hold_out(load(options.data), options.hold_out)
    data_name = options.data_name or options.data.name
    runs = Runs(options.model, base, data, held_out, data_name, options.out, options.device)
    setup = (
        f"{options.model}, {options.epochs} epochs, on {data_name} without {options.hold_out:,} training images that "
        "are held out"
    )
    results: list[Result] = []
    failed = 0
    for outcome in _in_turn(runs, names, options.seeds, options.minutes):
        if outcome is None:
            failed += 1
            continue
        results.append(outcome)
        if not options.print:
            write_section(options.page, section(setup, results, in_words, BASE))
    if results:
        print(section(setup, results, in_words, BASE))
    return 1 if failed else 0


def _in_turn(runs: Runs, names: list[str], seeds: int, minutes: float) -> Iterator[Result | None]:
    """Yield the result of every run, seed by seed, and None where one failed, which is said."""
    started = time.monotonic()
    for seed in range(seeds):
        for name in names:
            if time.monotonic() - started >= 60 * minutes:
                print(f"{name}, seed {seed}: not begun, for the time is over", file=sys.stderr, flush=True)
                continue
            try:
                result = runs.result(name, seed)
            except Exception as error:  # one option that fails must not cost the results of the others
                print(f"{name}, seed {seed}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                yield None
            else:
                print(
                    f"{name}, seed {seed}: held-out error {result.held_out_error:.4f}, "
                    f"{result.seconds_per_epoch:.2f} s per epoch",
                    flush=True,
                )
                yield result
