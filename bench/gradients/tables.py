"""The section of docs/reports/gradients.md: tables, targets, what a run needs, and which kernels take the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.gradients.rivals.rows import BACKWARD, RIVALS, VMAP
from bench.gradients.runs import ARITHMETIC, Kernels
from bench.gradients.subject import Subject
from bench.harness.page import table

SERVICE = "the whole service, with its server"
SMALLEST_SHARE = 0.005
"""Kernels below this share of a run are listed together."""
WRONG = 2e-2
"""Norms further from ours are wrong. Rectifiers on the other side of their kink, by rounding, change some by 5e-3."""


@dataclass(frozen=True)
class Table:
    """All runs of one network at one batch; the dictionaries go by the names of the runs."""

    subject: Subject
    derived: float
    """Seconds to make the gradient graphs."""
    seconds: Mapping[str, float]
    kernels: Mapping[str, Kernels]
    disagreement: Mapping[str, float]
    """Largest relative difference of a run's norms: of ours to torch's in float64, of a rival's to ours."""
    reasons: Mapping[str, str]
    """Why a run is missing."""

    def fastest(self, name: str) -> float:
        """Return the seconds of a run, whole or in chunks."""
        return min(taken for run, taken in self.seconds.items() if run.split(",")[0] == name)

    def fastest_rival(self) -> str | None:
        """Return the fastest of those whose norms are right; None where there is none."""
        right = (name for name, found in self.disagreement.items() if name in RIVALS and found <= WRONG)
        return min(right, key=self.seconds.__getitem__, default=None)


def section(*parts: str) -> str:
    """Return everything that `make bench-gradients` writes, without what is empty."""
    return "\n\n".join(part for part in parts if part)


def markdown(measured: Table) -> str:
    """Return one table: ratios to the forward run, to its arithmetic, and to torch."""
    forward = measured.seconds["forward"]
    totals = {name: kernels.total for name, kernels in measured.kernels.items()}
    rows = []
    for name, taken in measured.seconds.items():
        kernels = measured.kernels.get(name)
        cells = (
            name,
            ratio(taken, forward),
            ratio(totals.get(name), totals.get("forward")),
            ratio(kernels.total, kernels.arithmetic) if kernels else "",
            ratio(taken, measured.seconds.get(BACKWARD)),
            ratio(taken, measured.seconds.get(VMAP)),
            agreement(measured.disagreement.get(name)),
        )
        rows.append(" | ".join(cells))
    for name, reason in measured.reasons.items():
        rows.append(f"{name} | does not run: {reason.replace('|', '/')} | | | | | ")
    header = (
        "run | × forward | kernels × forward's | kernels ÷ arithmetic | ÷ torch forward + backward | ÷ vmap(grad) "
        "| norms agree within"
    )
    subject = measured.subject
    return "\n\n".join(
        [
            f"### {subject.name}, {subject.size}×{subject.size}, batch {subject.batch}",
            f"Forward run {forward * 1e3:.2f} ms. "
            f"Gradient graphs derived from torch's module in {measured.derived:.1f} s.",
            table(header, rows),
        ]
    )


def agreement(found: float | None) -> str:
    """Return how far norms differ, and whether that is wrong; nothing where a run has none."""
    if found is None:
        return ""
    return f"{found:.0e}" if found <= WRONG else f"**wrong** by {found:.0e}"


def needs(megabytes: Mapping[str, float], peaks: Mapping[str, Mapping[str, int]], batch: int) -> str:
    """Return what each run needs beside time.

    Args:
        megabytes: by run, and for `SERVICE`, what must be installed for it.
        peaks: by network and run, bytes.
        batch: at which the memory was measured.
    """
    if not peaks:
        return ""
    runs = dict.fromkeys(run for found in peaks.values() for run in found)
    rows = []
    for run in runs:
        cells = (f"{found[run] / 1e6:,.0f}" if run in found else "" for found in peaks.values())
        rows.append(" | ".join((run, f"{megabytes[run]:,.0f}" if run in megabytes else "", *cells)))
    if SERVICE in megabytes:
        rows.append(" | ".join((SERVICE, f"{megabytes[SERVICE]:,.0f}", *[""] * len(peaks))))
    header = " | ".join(("run", "MB installed", *(f"{name}, MB of memory" for name in peaks)))
    return "\n\n".join(
        [
            f"### What a run needs beside time, batch {batch}",
            "Memory is by how much a process of one thread grows at most while it opens the network and runs it twice.",
            table(header, rows),
        ]
    )


def profile(measured: Sequence[Table], batch: int) -> str:
    """Return where the time of the weight norms goes, of the first network at this batch; nothing without one."""
    chosen = next((one for one in measured if one.subject.batch == batch and one.kernels), None)
    if chosen is None:
        return ""
    kernels = chosen.kernels["weight_norms"]
    large = [kind for kind in kernels.kinds if kind[2] >= SMALLEST_SHARE * kernels.total]
    rest = kernels.total - sum(seconds for _, _, seconds in large)
    rows = []
    for operator, nodes, seconds in large:
        name = f"{operator} (arithmetic)" if operator in ARITHMETIC else operator
        rows.append(f"{name} | {nodes} | {seconds * 1e3:.2f} | {seconds / kernels.total:.0%}")
    rows.append(f"all others | | {rest * 1e3:.2f} | {rest / kernels.total:.0%}")
    rows.append(f"all | | {kernels.total * 1e3:.2f} | ")
    title = f"### Where the weight norms of {chosen.subject.name} at batch {batch} spend their time"
    return f"{title}\n\n" + table("kernel | nodes | ms | share", rows)


def ratio(value: float | None, reference: float | None) -> str:
    """Return the ratio; nothing if it was not measured."""
    return "" if value is None or reference is None else f"{value / reference:.2f}"
