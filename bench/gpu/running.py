"""Each part in a process of its own, and all of them within the time that is granted.

An error of CUDA spoils the process that it happens in, and a runtime may crash: neither may cost another part.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.gpu.part import Part, Setting
from bench.gpu.results import Results
from bench.harness.paths import ROOT

SHARES = {"graphs": 0.28, "replays": 0.08, "ratios": 0.14, "serving": 0.3, "messages": 0.2}
"""The parts in the order in which they are measured, and each one's share of the seconds."""
OVERTIME = 20.0
"""Seconds that a part, and all parts together, may take beyond their time: to import torch, and to end a row."""


def part_named(name: str) -> Part:
    """Import a part; the others are not, because each may need what the machine lacks."""
    part: Part = importlib.import_module(f"bench.gpu.{name}").PART
    return part


def measure_here(name: str, setting: Setting, out: Path, machine: dict[str, Any]) -> None:
    """Measure what is missing of a part, in this process, and write each row at once."""
    results = Results(out / f"{name}.jsonl")
    results.begin(machine)
    done = frozenset(row["key"] for row in results.rows() if "error" not in row)
    began = time.monotonic()
    for row in part_named(name).measure(replace(setting, done=done)):
        results.append(row)
        print(f"{time.monotonic() - began:5.0f} s  {name}: {row['key']} {row.get('error', '')}", flush=True)
        if time.monotonic() - began > setting.seconds:
            results.append({"stopped": f"its {setting.seconds:.0f} s were over after {row['key']}"})
            return
    results.append({"complete": True})


def measure_all(names: Sequence[str], seconds: float, out: Path, arguments: Sequence[str]) -> None:
    """Measure parts one after the other, in `seconds` and `OVERTIME` at most.

    Each gets its share of the time that is left: what one takes too long or does not need is that of all that follow.
    """
    end = time.monotonic() + seconds
    for place, name in enumerate(names):
        left = end - time.monotonic()
        if left > 0:
            measure_apart(name, left * SHARES[name] / sum(SHARES[each] for each in names[place:]), out, arguments)
        else:
            Results(out / f"{name}.jsonl").append({"stopped": "no time was left for it"})


def measure_apart(name: str, seconds: float, out: Path, arguments: Sequence[str]) -> None:
    """Measure a part in a new process of `python -m bench.gpu --part`; why it ended early is written to its file."""
    results = Results(out / f"{name}.jsonl")
    if results.complete:
        print(f"{name} is complete", flush=True)
        return
    command = [sys.executable, "-m", "bench.gpu", "--part", name, "--out", str(out), "--seconds", f"{seconds:.1f}"]
    # A part that is killed cannot remove its files, among them a bundle of a large net.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            status = _ended([*command, *arguments], scratch, seconds + OVERTIME)
        except subprocess.TimeoutExpired:
            results.append({"stopped": f"it was ended {OVERTIME:.0f} s after its {seconds:.0f} s were over"})
            return
    if status != 0:
        results.append({"stopped": f"its process ended with status {status}"})


def _ended(command: Sequence[str], scratch: str, seconds: float) -> int:
    """Run a command, with `scratch` for its files, and return its exit status; all that it started ends with it.

    Raises:
        subprocess.TimeoutExpired: it went on for more than `seconds`.
    """
    environment = {**os.environ, "TMPDIR": scratch}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        return process.wait(seconds)
    finally:
        with suppress(ProcessLookupError):  # services that it started would keep the card's memory
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
