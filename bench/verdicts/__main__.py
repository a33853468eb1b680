"""`make verdicts`: error rates of the verdicts' rules on networks whose sickness is known → docs/verdicts.md."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence

import torch

from bench.harness.page import add_options, publish
from bench.harness.paths import DOCS, PHOTOGRAPHS
from bench.verdicts.corpus import cases, photographs
from bench.verdicts.judging import judge_case, judge_shipped
from bench.verdicts.report import each_kind, error_rates
from bench.verdicts.shattered import shattering_table
from service.diagnostics.shattering import POINTS

COMMAND = "python -m bench.verdicts"
IMAGES = 24


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--deepest", type=int, default=110)
    parser.add_argument("--kinds", type=int, help="judge the first so many kinds only")
    add_options(parser, DOCS / "verdicts.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = photographs(PHOTOGRAPHS)[:IMAGES]
    judged = list(judge_shipped(images))
    for seed in range(options.seeds):
        for case in itertools.islice(cases(options.deepest), options.kinds):
            one = judge_case(case, seed, images)
            judged.append(one)
            mark = "" if one.state == one.truth else "   <-"
            print(f"{case.name}: {one.state} (truth {one.truth}){mark}  {one.because}", flush=True)
    right = sum(one.state == one.truth for one in judged)
    made = f"{len(judged)} networks (the trained bundles, and {options.seeds} of each untrained kind)"
    parts = [
        f"Made by `{' '.join([COMMAND, *arguments])}`: {made}, {len(images)} photographs.",
        error_rates(judged),
        f"The state (the worst finding) is the truth for {right} of {len(judged)} networks.",
        "### Each kind",
        each_kind(judged),
        "### Shattering",
        f"Input gradients at {POINTS} points between two photographs.",
        shattering_table(images, options.deepest),
    ]
    publish(options, COMMAND, "\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
