"""The section of docs/reports/verdicts.md: error rates with their intervals, and every kind of network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.harness.page import table
from bench.verdicts.held_out.trainings import UNKNOWN, WHEN, Finished
from bench.verdicts.judging import DEBUGGER_RULE_FOR, Judged
from service.diagnostics.shattering.points import POINTS
from service.diagnostics.verdicts.looked_for import FINDINGS
from service.diagnostics.versions.intervals import wilson


@dataclass(frozen=True)
class HeldOut:
    """Networks that took no part in setting the thresholds: by kind, from packages, and runs with their checkpoints."""

    kinds: list[Judged]
    packages: list[Judged]
    runs: list[tuple[Finished, list[Judged]]]
    left_out: list[str]

    @property
    def checkpoints(self) -> list[Judged]:
        return [one for _, judged in self.runs for one in judged]

    @property
    def all(self) -> list[Judged]:
        return [*self.packages, *self.kinds, *self.checkpoints]


def page(made: str, fit: Sequence[Judged], held_out: HeldOut, shattering: str) -> str:
    """Return the whole section in Markdown."""
    left_out = "Left out: " + "; ".join(held_out.left_out) + "." if held_out.left_out else ""
    parts = [
        made,
        left_out,
        "### At the gate",
        at_gate({"fit": fit, "held out": held_out.all}, held_out),
        "### Fit: the networks by which the thresholds were set",
        error_rates(fit),
        right(fit),
        "### Held out: networks that took no part",
        error_rates(held_out.all),
        right(held_out.all),
        "### Trained classifiers from packages",
        each_kind(held_out.packages),
        "### Trainings",
        each_run(held_out.runs),
        "### Each kind, held out",
        each_kind(held_out.kinds),
        "### Each kind, fit",
        each_kind(fit),
        "### Shattering",
        f"Input gradients at {POINTS} points between two photographs.",
        shattering,
    ]
    return "\n\n".join(part for part in parts if part)


def at_gate(sets: dict[str, Sequence[Judged]], held_out: HeldOut) -> str:
    """Return how often a healthy network is stopped and a sick one passes, on the pictures that the gate makes."""
    named = {
        **sets,
        "– files of packages": held_out.packages,
        "– kinds": held_out.kinds,
        "– checkpoints of trainings": held_out.checkpoints,
    }
    rows = []
    for name, judged in named.items():
        healthy = [one.at_gate != "healthy" for one in judged if one.truth == "healthy"]
        sick = [one.at_gate == "healthy" for one in judged if one.truth != "healthy"]
        rows.append(f"{name} | {rate(sum(healthy), len(healthy))} | {rate(sum(sick), len(sick))}")
    return table("networks | healthy, but stopped | sick, but passed", rows)


def right(judged: Sequence[Judged]) -> str:
    """Return how often the state is the truth, in a sentence."""
    known = [one for one in judged if one.truth != UNKNOWN]
    count = sum(one.state == one.truth for one in known)
    return f"The state (the worst finding) is the truth for {count} of {len(known)} networks."


def error_rates(judged: Sequence[Judged]) -> str:
    """Return one row for each finding: how often it is wrong, and how often Debugger's rule is."""
    rows = []
    for finding in FINDINGS:
        ours = errors(judged, finding, finding, "found")
        rule = DEBUGGER_RULE_FOR.get(finding)
        theirs = errors(judged, finding, rule, "debugger") if rule else ["–", "–"]
        rows.append(" | ".join([finding, *ours, rule or "none", *theirs]))
    return table("finding | false alarms | misses | Debugger's rule | its false alarms | its misses", rows)


def errors(judged: Sequence[Judged], finding: str, said: str, by: Literal["found", "debugger"]) -> list[str]:
    """Return the rates of false alarms and of misses of what was `said`, by us or by Debugger."""
    known = [one for one in judged if one.truth != UNKNOWN]
    without = [said in getattr(one, by) for one in known if one.truth != finding and finding not in one.also]
    having = [said in getattr(one, by) for one in known if one.truth == finding]
    return [rate(sum(without), len(without)), rate(len(having) - sum(having), len(having))]


def each_kind(judged: Sequence[Judged]) -> str:
    """Return one row for each kind of network: how often it was given which state."""
    rows = []
    for name in dict.fromkeys(one.name for one in judged):
        same = [one for one in judged if one.name == name]
        cells = [
            counted(one.truth for one in same),
            counted(one.state for one in same),
            counted(one.at_gate for one in same),
            counted(", ".join(sorted(one.debugger)) or "none" for one in same),
            same[-1].because.replace("|", "/"),
        ]
        rows.append(" | ".join([name, *cells]))
    return table("network | truth | on photographs | at the gate | Debugger's rules | seen in the last one", rows)


def each_run(runs: Sequence[tuple[Finished, list[Judged]]]) -> str:
    """Return one row for each training: its losses, its truth, and the verdicts on the way."""
    rows = []
    for run, judged in runs:
        losses = f"{run.losses[0]:.2f} → {run.losses[-1]:.2f}"
        rows.append(" | ".join([run.run.name, losses, run.truth, *(both(one) for one in judged)]))
    return table(f"network | loss of the first and last epoch | truth | {' | '.join(WHEN.values())}", rows)


def both(one: Judged) -> str:
    """Return the state on the photographs, and at the gate if that is another."""
    return one.state if one.state == one.at_gate else f"{one.state}; at the gate {one.at_gate}"


def rate(count: int, total: int) -> str:
    """Return a share with its 95 % interval."""
    if not total:
        return "–"
    low, high = wilson(count, total)
    return f"{count} of {total} ({low:.1%} to {high:.1%})"


def counted(values: Iterable[str]) -> str:
    """Return each value with how often it occurs, in the order of their first occurrence; once if there is one."""
    every = list(values)
    if len(every) == 1:
        return every[0]
    return ", ".join(f"{value} {every.count(value)}" for value in dict.fromkeys(every))
