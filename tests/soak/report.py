"""The section of docs/reports/reliability.md: the requests that were sent, and the figures that were seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from bench.harness.machine import machine
from bench.harness.page import table
from tests.soak.log import GROWTH_LIMIT, Log
from tests.soak.play import CONNECTIONS

COMMAND = "python -m tests.soak"
WHOLE = 1_000_000


def report(log: Log, beside: str) -> str:
    """Return the section; `beside` says what else the machine was doing."""
    faults = log.faults()
    total = log.sent.total()
    short = "" if total >= WHOLE else " This is a short form: the whole soak is a million requests."
    return "\n\n".join(
        [
            f"Written by `{COMMAND} --requests {total}`. {total:,} requests over {CONNECTIONS} connections in "
            f"{log.seconds:,.0f} s on {machine()}, the load generator on the same ones. {beside}{short}",
            "**Not kept:** " + "; ".join(faults) + "." if faults else "Every check passed.",
            _requests(log),
            _figures(log),
        ]
    )


def _requests(log: Log) -> str:
    answers: dict[str, list[str]] = defaultdict(list)
    for (kind, status), count in sorted(log.answers.items()):
        answers[kind].append(f"{status or 'no answer'}: {count:,}")
    rows = [f"{kind.name} | {log.sent[kind.name]:,} | {', '.join(answers[kind.name])}" for kind in log.kinds]
    return table("request | number | answered", rows)


def _figures(log: Log) -> str:
    too_few = "" if log.judges_memory else ", too few requests to judge"
    rows = [
        f"wrong answers | {len(log.wrong)}",
        f"answers stored at the start, to compare with | {log.stored:,}",
        f"images in a run that failed, on average | {log.images_per_failing_run:.2f}",
        f"changes of the folder | {_counts(log.changes)}",
        f"requests by `/metrics` | {_counts(log.outcomes)}",
        f"resident memory after the start | {log.idle:.0f} MB",
        f"once every graph had been used | {log.resident[0]:.0f} MB",
        f"at most | {max(log.resident):.0f} MB",
        f"at last | {log.resident[-1]:.0f} MB",
        f"growth over the requests, second fifth to last | {log.growth:+.1%}, limit {GROWTH_LIMIT:.0%}{too_few}",
        f"open descriptors without connections | {log.descriptors[0]} before, {log.descriptors[1]} after",
        f"lines in the service's log that the soak did not bring about | {len(log.log_lines)}",
    ]
    return table("what | figure", rows)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
