"""The generated part of docs/deployment.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.harness.page import replace_section
from deploy.check.engine import Engine
from deploy.check.trial import Trial, table

COMMAND = "make container-report"


def machine(engine: Engine, base_note: str) -> str:
    """What the trials ran on, without anything that names this very machine."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    system = next(
        (line.split("=", 1)[1].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME=")), ""
    )
    sentence = f"{os.cpu_count()} CPUs ({model}), {system or platform.system()}, {engine.version()}."
    return f"{sentence} {base_note}".strip()


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def write(document: Path, sections: Mapping[str, Sequence[Trial]], where: str) -> None:
    """Replace the section that `make container-report` wrote last."""
    parts = [f"Tried on: {where}", *(f"### {title}\n\n{table(trials)}" for title, trials in sections.items())]
    replace_section(document, COMMAND, "\n\n".join(parts))
