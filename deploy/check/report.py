"""The generated part of docs/deployment.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.check.engine import Engine
from deploy.check.trial import Trial, table

BEGIN, END = "<!-- begin: make container-report -->", "<!-- end: make container-report -->"


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
    """Replace what stands between the two marks of `document`.

    Raises:
        ValueError: the marks are not there, once each and in order.
    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document.name} has no place for the report: {BEGIN} … {END}")
    parts = [
        f"\nTried on: {where}\n",
        *(f"\n### {title}\n\n{table(trials)}\n" for title, trials in sections.items()),
        "\n",
    ]
    document.write_text(before + BEGIN + "\n" + "".join(parts) + END + after, encoding="utf-8")
