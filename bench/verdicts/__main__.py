"""`make verdicts`: error rates of the verdicts' rules on networks whose sickness is known → docs/verdicts.md."""

from __future__ import annotations

import itertools

import torch

from bench.harness.page import made_by, parser_of, publish
from bench.harness.paths import DOCS
from bench.verdicts.corpus import cases, photographs
from bench.verdicts.judging import judge_case, judge_shipped
from bench.verdicts.report import each_kind, error_rates
from bench.verdicts.shattered import shattering_table
from service.diagnostics.shattering import POINTS

COMMAND = "python -m bench.verdicts"


def main() -> None:
    parser = parser_of(COMMAND, __doc__, DOCS / "verdicts.md")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--deepest", type=int, default=110)
    parser.add_argument("--kinds", type=int, help="judge the first so many kinds only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = photographs()
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
        f"{made_by(COMMAND)}: {made}, {len(images)} photographs.",
        error_rates(judged),
        f"The state (the worst finding) is the truth for {right} of {len(judged)} networks.",
        "### Each kind",
        each_kind(judged),
        "### Shattering",
        f"Input gradients at {POINTS} points between two photographs.",
        shattering_table(images, options.deepest),
    ]
    publish(options, COMMAND, "\n\n".join(parts))


if __name__ == "__main__":
    main()
