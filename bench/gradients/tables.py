"""The section of docs/performance.md: the tables, the targets, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.gradients.runs import ARITHMETIC, Kernels

BACKWARD, VMAP = "torch forward + backward", "torch vmap(grad)"
SMALLEST_SHARE = 0.005


@dataclass(frozen=True)
class Row:
    """One line: seconds of a run, its profile, its disagreement with the reference, or why there is none."""

    name: str
    seconds: float | None
    kernels: Kernels | None = None
    disagreement: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Table:
    """All rows of one network at one batch; `derived`: seconds to make its gradient graphs."""

    network: str
    size: int
    batch: int
    rows: tuple[Row, ...]
    derived: float

    def seconds(self, name: str) -> float | None:
        """Of the run called `name`, None where it does not run."""
        return next((row.seconds for row in self.rows if row.name == name), None)

    def fastest(self, name: str) -> float | None:
        """Of the run called `name`, whole or in chunks."""
        return min((row.seconds for row in self.rows if row.seconds and row.name.split(",")[0] == name), default=None)

    def kernels(self, name: str) -> Kernels | None:
        """The profile of the run called `name`."""
        return next((row.kernels for row in self.rows if row.name == name), None)


def section(conditions: str, tables: Sequence[Table]) -> str:
    """Everything that `make bench-gradients` writes."""
    parts = [conditions, *map(markdown, tables), targets(tables)]
    profiled = next((table for table in tables if table.kernels("weight_norms") and table.batch == 8), None)
    if profiled:
        parts.append(profile(profiled))
    return "\n\n".join(parts)


def markdown(table: Table) -> str:
    """One table: ratios to the forward run, to its arithmetic, and to torch."""
    forward, backward, vmap = (table.seconds(name) for name in ("forward", BACKWARD, VMAP))
    assert forward is not None
    forward_kernels = table.kernels("forward")
    lines = [
        f"#### {table.network}, {table.size}×{table.size}, batch {table.batch}",
        "",
        f"Forward run {forward * 1e3:.2f} ms. Gradient graphs derived from torch's module in {table.derived:.1f} s.",
        "",
        "| run | × forward | kernels × forward's | kernels ÷ arithmetic "
        "| ÷ torch forward + backward | ÷ vmap(grad) | norms agree within |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.rows:
        if row.seconds is None:
            lines.append(f"| {row.name} | does not run: {row.reason.replace('|', '/')} | | | | | |")
            continue
        cells = [
            row.name,
            f"{row.seconds / forward:.2f}",
            f"{row.kernels.total / forward_kernels.total:.2f}" if row.kernels and forward_kernels else "",
            f"{row.kernels.total / row.kernels.arithmetic:.2f}" if row.kernels else "",
            f"{row.seconds / backward:.2f}" if backward else "",
            f"{row.seconds / vmap:.2f}" if vmap else "",
            f"{row.disagreement:.0e}" if row.disagreement is not None else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def targets(tables: Sequence[Table]) -> str:
    """Which targets this run reaches."""
    lines = [
        "#### Against the targets",
        "",
        "| network, batch | activation norms ÷ arithmetic, ≤ 1.15 | weight norms ÷ arithmetic, ≤ 1.25 "
        "| weight norms ÷ torch forward + backward, ≤ 0.65 | ÷ vmap(grad), ≤ 0.25 "
        "| stretch: activation norms ≤ 2.2 × forward | stretch: weight norms ≤ 3 × forward |",
        "|---|---|---|---|---|---|---|",
    ]
    for table in tables:
        if table.batch == 1:
            continue
        activations, weights = (table.kernels(name) for name in ("activation_norms", "weight_norms"))
        taken = table.fastest("weight_norms")
        cells = [
            f"{table.network}, {table.batch}",
            _against(activations.total if activations else None, activations and activations.arithmetic, 1.15),
            _against(weights.total if weights else None, weights and weights.arithmetic, 1.25),
            _against(taken, table.seconds(BACKWARD), 0.65),
            _against(taken, table.seconds(VMAP), 0.25),
            _against(table.fastest("activation_norms"), table.seconds("forward"), 2.2),
            _against(taken, table.seconds("forward"), 3.0),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def profile(table: Table) -> str:
    """Where the time of the weight norms goes."""
    kernels = table.kernels("weight_norms")
    assert kernels is not None
    lines = [
        f"#### Where the weight norms of {table.network} at batch {table.batch} spend their time",
        "",
        "| kernel | nodes | ms | share |",
        "|---|---|---|---|",
    ]
    rest = 0.0
    for operator, nodes, seconds in kernels.kinds:
        if seconds < SMALLEST_SHARE * kernels.total:
            rest += seconds
            continue
        name = f"{operator} (arithmetic)" if operator in ARITHMETIC else operator
        lines.append(f"| {name} | {nodes} | {seconds * 1e3:.2f} | {seconds / kernels.total:.0%} |")
    lines.append(f"| all others | | {rest * 1e3:.2f} | {rest / kernels.total:.0%} |")
    lines.append(f"| all | | {kernels.total * 1e3:.2f} | |")
    return "\n".join(lines)


def _against(value: float | None, reference: float | None, bound: float) -> str:
    """The ratio, and whether it keeps the bound; empty where it was not measured."""
    if value is None or reference is None:
        return ""
    ratio = value / reference
    return f"{ratio:.2f} {'reached' if ratio <= bound else '**not reached**'}"
