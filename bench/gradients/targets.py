"""The targets of the gradient norms, and by how far a run misses them.

The ideal step is three forward runs: one forward, one for the gradients of the activations, one for those of the
weights, each with as many multiplications as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.gradients.rivals.rows import BACKWARD
from bench.gradients.tables import Table, ratio
from bench.harness.page import table

IDEAL_STEP = 3
BATCHES = (8, 32)
"""At which the targets hold; a batch of one has nothing to share."""


@dataclass(frozen=True)
class Target:
    """A run that shall take no more than `bound` times as long as the forward run."""

    run: str
    bound: float
    meaning: str


TARGETS = (
    Target("weight_norms", 1.2 * IDEAL_STEP, "weight norms, × forward: ≤ 3.6, which is 1.2 × the ideal step"),
    Target("activation_norms", 2.2, "activation norms, × forward: ≤ 2.2"),
)


def against_targets(measured: Sequence[Table]) -> str:
    """Return which targets the runs reach, and in words how far off the others are."""
    judged = [one for one in measured if one.subject.batch in BATCHES]
    if not judged:
        return ""
    header = " | ".join(
        ("network, batch", *(target.meaning for target in TARGETS), "weight norms ÷ arithmetic",
         "activation norms ÷ arithmetic", "weight norms ÷ torch forward + backward",
         "weight norms ÷ the fastest rival with the same norms")
    )  # fmt: skip
    rows = [" | ".join((_place(one), *_verdicts(one), *_beside(one))) for one in judged]
    missed = [line for one in judged for line in misses(one)]
    summary = "Missed:\n\n" + "\n".join(f"- {line}" for line in missed) if missed else "All are reached."
    return "\n\n".join(["### Against the targets", table(header, rows), summary])


def misses(measured: Table) -> list[str]:
    """Return a line for each target that a table misses: by how far."""
    found = []
    for target in TARGETS:
        times = _times_forward(measured, target)
        if times > target.bound:
            found.append(
                f"{target.run} of {_place(measured)}: {times:.2f} × the forward run instead of {target.bound:.2f}, "
                f"{times / target.bound - 1:.1%} too slow"
            )
    return found


def _verdicts(measured: Table) -> list[str]:
    cells = []
    for target in TARGETS:
        times = _times_forward(measured, target)
        cells.append(f"{times:.2f} {'reached' if times <= target.bound else '**not reached**'}")
    return cells


def _beside(measured: Table) -> tuple[str, ...]:
    """Return what is shown beside the targets without being one."""
    weights, rival = measured.fastest("weight_norms"), measured.fastest_rival()
    kernels = (measured.kernels.get(name) for name in ("weight_norms", "activation_norms"))
    return (
        *(ratio(each.total, each.arithmetic) if each else "" for each in kernels),
        ratio(weights, measured.seconds.get(BACKWARD)),
        f"{ratio(weights, measured.seconds[rival])} ({rival})" if rival else "",
    )


def _times_forward(measured: Table, target: Target) -> float:
    """Return the ratio of the two at their fastest, whole or in chunks."""
    return measured.fastest(target.run) / measured.fastest("forward")


def _place(measured: Table) -> str:
    return f"{measured.subject.name}, {measured.subject.batch}"
