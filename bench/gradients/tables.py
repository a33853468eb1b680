"""The section of docs/performance.md: the tables, the targets, and the kernels that take the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.gradients.runs import ARITHMETIC, Kernels
from bench.harness.page import table

BACKWARD, VMAP = "torch forward + backward", "torch vmap(grad)"
SMALLEST_SHARE = 0.005
"""Kernels below this share of a run are listed together."""


@dataclass(frozen=True)
class Table:
    """All runs of one network at one batch; the dictionaries go by the names of the runs."""

    network: str
    size: int
    batch: int
    derived: float
    """Seconds to make the gradient graphs."""
    seconds: dict[str, float]
    kernels: dict[str, Kernels]
    disagreement: dict[str, float]
    """Largest relative difference of a run's norms to the reference."""
    reasons: dict[str, str]
    """Why a run is missing."""

    def fastest(self, name: str) -> float | None:
        """Return the seconds of a run, whole or in chunks."""
        return min((taken for run, taken in self.seconds.items() if run.split(",")[0] == name), default=None)


def section(conditions: str, measured: Sequence[Table]) -> str:
    """Return everything that `make bench-gradients` writes."""
    parts = [conditions, *map(markdown, measured), targets(measured)]
    profiled = next((one for one in measured if one.batch == 8), None)
    if profiled:
        parts.append(profile(profiled))
    return "\n\n".join(parts)


def markdown(measured: Table) -> str:
    """Return one table: ratios to the forward run, to its arithmetic, and to torch."""
    forward = measured.seconds["forward"]
    totals = {name: kernels.total for name, kernels in measured.kernels.items()}
    rows = []
    for name, taken in measured.seconds.items():
        kernels, disagreement = measured.kernels.get(name), measured.disagreement.get(name)
        cells = (
            name,
            ratio(taken, forward),
            ratio(totals.get(name), totals.get("forward")),
            ratio(kernels.total, kernels.arithmetic) if kernels else "",
            ratio(taken, measured.seconds.get(BACKWARD)),
            ratio(taken, measured.seconds.get(VMAP)),
            "" if disagreement is None else f"{disagreement:.0e}",
        )
        rows.append(" | ".join(cells))
    for name, reason in measured.reasons.items():
        rows.append(f"{name} | does not run: {reason.replace('|', '/')} | | | | | ")
    header = (
        "run | × forward | kernels × forward's | kernels ÷ arithmetic | ÷ torch forward + backward | ÷ vmap(grad) "
        "| norms agree within"
    )
    return "\n\n".join(
        [
            f"#### {measured.network}, {measured.size}×{measured.size}, batch {measured.batch}",
            f"Forward run {forward * 1e3:.2f} ms. "
            f"Gradient graphs derived from torch's module in {measured.derived:.1f} s.",
            table(header, rows),
        ]
    )


def targets(measured: Sequence[Table]) -> str:
    """Return which targets this run reaches."""
    header = (
        "network, batch | activation norms ÷ arithmetic, ≤ 1.15 | weight norms ÷ arithmetic, ≤ 1.25 "
        "| weight norms ÷ torch forward + backward, ≤ 0.65 | ÷ vmap(grad), ≤ 0.25 "
        "| stretch: activation norms ≤ 2.2 × forward | stretch: weight norms ≤ 3 × forward"
    )
    rows = []
    for one in measured:
        if one.batch == 1:
            continue
        forward, weights = one.seconds["forward"], one.fastest("weight_norms")
        over_arithmetic = [
            ratio(one.kernels[name].total, one.kernels[name].arithmetic, bound)
            for name, bound in (("activation_norms", 1.15), ("weight_norms", 1.25))
        ]
        cells = (
            f"{one.network}, {one.batch}",
            *over_arithmetic,
            ratio(weights, one.seconds.get(BACKWARD), 0.65),
            ratio(weights, one.seconds.get(VMAP), 0.25),
            ratio(one.fastest("activation_norms"), forward, 2.2),
            ratio(weights, forward, 3.0),
        )
        rows.append(" | ".join(cells))
    return "#### Against the targets\n\n" + table(header, rows)


def profile(measured: Table) -> str:
    """Return where the time of the weight norms goes."""
    kernels = measured.kernels["weight_norms"]
    large = [kind for kind in kernels.kinds if kind[2] >= SMALLEST_SHARE * kernels.total]
    rest = kernels.total - sum(seconds for _, _, seconds in large)
    rows = []
    for operator, nodes, seconds in large:
        name = f"{operator} (arithmetic)" if operator in ARITHMETIC else operator
        rows.append(f"{name} | {nodes} | {seconds * 1e3:.2f} | {seconds / kernels.total:.0%}")
    rows.append(f"all others | | {rest * 1e3:.2f} | {rest / kernels.total:.0%}")
    rows.append(f"all | | {kernels.total * 1e3:.2f} | ")
    title = f"#### Where the weight norms of {measured.network} at batch {measured.batch} spend their time"
    return f"{title}\n\n" + table("kernel | nodes | ms | share", rows)


def ratio(value: float | None, reference: float | None, bound: float | None = None) -> str:
    """Return the ratio, and whether it keeps the bound if there is one; nothing if it was not measured."""
    if value is None or reference is None:
        return ""
    found = value / reference
    kept = "" if bound is None else " reached" if found <= bound else " **not reached**"
    return f"{found:.2f}{kept}"
