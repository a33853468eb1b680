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
class Row:
    """One run, or the reason why there is none."""

    name: str
    seconds: float | None
    kernels: Kernels | None = None
    disagreement: float | None = None
    """Largest relative difference of its norms to the reference."""
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """All rows of one network at one batch."""

    network: str
    size: int
    batch: int
    rows: tuple[Row, ...]
    derived: float
    """Seconds to make the gradient graphs."""

    def seconds(self, name: str) -> float | None:
        """Return the seconds of a run, None if it does not run."""
        return next((row.seconds for row in self.rows if row.name == name), None)

    def fastest(self, name: str) -> float | None:
        """Return the seconds of a run, whole or in chunks."""
        return min((row.seconds for row in self.rows if row.seconds and row.name.split(",")[0] == name), default=None)

    def kernels(self, name: str) -> Kernels | None:
        """Return the profile of a run."""
        return next((row.kernels for row in self.rows if row.name == name), None)


def section(conditions: str, measured: Sequence[Table]) -> str:
    """Return everything that `make bench-gradients` writes."""
    parts = [conditions, *map(markdown, measured), targets(measured)]
    profiled = next((one for one in measured if one.kernels("weight_norms") and one.batch == 8), None)
    if profiled:
        parts.append(profile(profiled))
    return "\n\n".join(parts)


def markdown(measured: Table) -> str:
    """Return one table: ratios to the forward run, to its arithmetic, and to torch."""
    forward, backward, vmap = (measured.seconds(name) for name in ("forward", BACKWARD, VMAP))
    assert forward is not None
    forward_kernels = measured.kernels("forward")
    rows = []
    for row in measured.rows:
        if row.seconds is None:
            rows.append(f"{row.name} | does not run: {row.reason.replace('|', '/')} | | | | | ")
            continue
        kernels = row.kernels
        cells = (
            row.name,
            f"{row.seconds / forward:.2f}",
            f"{kernels.total / forward_kernels.total:.2f}" if kernels and forward_kernels else "",
            f"{kernels.total / kernels.arithmetic:.2f}" if kernels else "",
            f"{row.seconds / backward:.2f}" if backward else "",
            f"{row.seconds / vmap:.2f}" if vmap else "",
            f"{row.disagreement:.0e}" if row.disagreement is not None else "",
        )
        rows.append(" | ".join(cells))
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
        taken, forward = one.fastest("weight_norms"), one.seconds("forward")
        cells = (
            f"{one.network}, {one.batch}",
            over_arithmetic(one.kernels("activation_norms"), 1.15),
            over_arithmetic(one.kernels("weight_norms"), 1.25),
            against(taken, one.seconds(BACKWARD), 0.65),
            against(taken, one.seconds(VMAP), 0.25),
            against(one.fastest("activation_norms"), forward, 2.2),
            against(taken, forward, 3.0),
        )
        rows.append(" | ".join(cells))
    return "#### Against the targets\n\n" + table(header, rows)


def profile(measured: Table) -> str:
    """Return where the time of the weight norms goes."""
    kernels = measured.kernels("weight_norms")
    assert kernels is not None
    rest = 0.0
    rows = []
    for operator, nodes, seconds in kernels.kinds:
        if seconds < SMALLEST_SHARE * kernels.total:
            rest += seconds
            continue
        name = f"{operator} (arithmetic)" if operator in ARITHMETIC else operator
        rows.append(f"{name} | {nodes} | {seconds * 1e3:.2f} | {seconds / kernels.total:.0%}")
    rows.append(f"all others | | {rest * 1e3:.2f} | {rest / kernels.total:.0%}")
    rows.append(f"all | | {kernels.total * 1e3:.2f} | ")
    title = f"#### Where the weight norms of {measured.network} at batch {measured.batch} spend their time"
    return f"{title}\n\n" + table("kernel | nodes | ms | share", rows)


def over_arithmetic(kernels: Kernels | None, bound: float) -> str:
    """Return what a run's kernels take over their arithmetic, and whether it keeps the bound."""
    return against(kernels.total, kernels.arithmetic, bound) if kernels else ""


def against(value: float | None, reference: float | None, bound: float) -> str:
    """Return the ratio, and whether it keeps the bound; nothing if it was not measured."""
    if value is None or reference is None:
        return ""
    ratio = value / reference
    return f"{ratio:.2f} {'reached' if ratio <= bound else '**not reached**'}"
