"""The section of docs/verdicts.md: error rates with their intervals, and every kind of network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from scipy.stats import binomtest

from bench.harness.page import table
from bench.verdicts.judging import DEBUGGER_RULE_FOR, Judged

FINDINGS = ("exploding", "vanishing", "dead", "imbalanced")


def error_rates(judged: Sequence[Judged]) -> str:
    """Return one row for each finding: how often it is wrong, and how often Debugger's rule is."""
    rows = []
    for finding in FINDINGS:
        ours = errors(judged, finding, "found")
        rule = DEBUGGER_RULE_FOR.get(finding)
        theirs = errors(judged, finding, "debugger") if rule else ["–", "–"]
        rows.append(" | ".join([finding, *ours, rule or "none", *theirs]))
    return table("finding | false alarms | misses | Debugger's rule | its false alarms | its misses", rows)


def each_kind(judged: Sequence[Judged]) -> str:
    """Return one row for each kind of network: how often it was given which state."""
    rows = []
    for name in dict.fromkeys(one.name for one in judged):
        same = [one for one in judged if one.name == name]
        states = counted(one.state for one in same)
        rules = counted(", ".join(sorted(one.debugger)) or "none" for one in same)
        rows.append(f"{name} | {same[0].truth} | {states} | {rules} | {same[-1].because.replace('|', '/')}")
    header = "network | truth | our state, how often | Debugger's rules, how often | last sentence of the verdict"
    return table(header, rows)


def errors(judged: Sequence[Judged], finding: str, by: Literal["found", "debugger"]) -> list[str]:
    """Return the rates of false alarms and of misses, by us or by Debugger."""
    without = [finding in getattr(one, by) for one in judged if one.truth != finding and finding not in one.also]
    having = [finding in getattr(one, by) for one in judged if one.truth == finding]
    return [rate(sum(without), len(without)), rate(len(having) - sum(having), len(having))]


def rate(count: int, total: int) -> str:
    """Return a share with its 95 % interval (Wilson 1927)."""
    low, high = binomtest(count, total).proportion_ci(method="wilson") if total else (0.0, 1.0)
    return f"{count} of {total} ({low:.1%} to {high:.1%})"


def counted(values: Iterable[str]) -> str:
    """Return each value with how often it occurs, in the order of their first occurrence."""
    every = list(values)
    return ", ".join(f"{value} {every.count(value)}" for value in dict.fromkeys(every))
