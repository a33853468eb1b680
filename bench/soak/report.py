"""docs/reliability.md: what was run, what was seen."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from pathlib import Path

from bench.soak.log import GROWTH_LIMIT, Log
from bench.soak.play import CONNECTIONS
from bench.soak.requests import ILL_CONDITIONED

WHOLE = 1_000_000


def report(log: Log, beside: str) -> str:
    """The page; `beside` says what else the machine was doing."""
    faults = log.faults()
    total = log.sent.total()
    scale = "" if total >= WHOLE else " This is a short form: the whole soak is a million requests."
    judged = "" if log.judges_memory else " (too few requests to judge)"
    return f"""# Reliability

Written by `python -m bench.soak --requests {total}` (`make soak` sends a million). {total:,} requests over
{CONNECTIONS} connections in {log.seconds:,.0f} s on {os.cpu_count()} CPUs ({_processor()}), the load generator on
the same ones. {beside}{scale}

{"Every check passed." if not faults else "**Not kept:** " + "; ".join(faults) + "."}

| request | number | answered |
|---|---|---|
{_rows(log)}

- Wrong answers: {len(log.wrong)}. Every answer with status 200 is compared with one of {log.stored:,} that were
  stored at the start: numbers within 0.1 %, everything else exactly. Scores are not asked of
  {", ".join(sorted(ILL_CONDITIONED))}: where gradients have vanished, the distance of their logarithms magnifies
  the last bits of float32, which differ with the size of the batch.
- Failing runs: white pictures on a bundle whose graph cannot take them. Its runs held
  {log.images_per_failing_run:.2f} images on average, so they shared runs with good ones, which are among those checked.
- Changes of the folder, each seen in `GET /models` before the next was made: {_counts(log.changes)}.
- `/metrics`: {_counts(log.outcomes)}. Failed and refused agree with the client's log exactly; a request whose
  client reset the connection may have been answered before, cancelled, or never read: checked by bounds.
- Resident memory: {log.idle:.0f} MB after the start, {log.resident[0]:.0f} MB once every graph had been used,
  {max(log.resident):.0f} MB at most, {log.resident[-1]:.0f} MB at last; growth from the second fifth of the
  requests to the last {log.growth:+.1%}{judged}, limit {GROWTH_LIMIT:.0%}.
- Open descriptors without connections: {log.descriptors[0]} before, {log.descriptors[1]} after.
- Lines in the service's log that the soak did not bring about: {len(log.log_lines)}.
"""


def _rows(log: Log) -> str:
    answers: dict[str, list[str]] = defaultdict(list)
    for (kind, status), count in sorted(log.answers.items()):
        answers[kind].append(f"{status or 'no answer'}: {count:,}")
    names = [kind.name for kind in log.kinds]
    return "\n".join([f"| {name} | {log.sent[name]:,} | {', '.join(answers[name])} |" for name in names])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.processor())
