"""The rows of a part in `FOLDER/PART.jsonl`: written as they are measured, so that nothing measured is lost.

The first line names the machine, {"machine": …}; then come rows, and {"stopped": …} where the time was up. The
last line is {"complete": true} if nothing is left to measure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gpu.part import Row

CUT_OFF = "the run was cut off"


class OtherMachine(Exception):
    """Raised where a folder has rows of another machine, which must not stand beside this one's."""


@dataclass(frozen=True)
class Results:
    """A part's file."""

    file: Path

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what was written; a last line that was cut off is left out."""
        if not self.file.is_file():
            return
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

    def rows(self) -> list[Row]:
        """Return every row; of several with the same key, the last."""
        return list({line["key"]: line for line in self.lines() if "key" in line}.values())

    @property
    def machine(self) -> dict[str, Any] | None:
        return next((line["machine"] for line in self.lines() if "machine" in line), None)

    @property
    def complete(self) -> bool:
        return any(line.get("complete") for line in self.lines())

    @property
    def stopped(self) -> str | None:
        """Why rows are missing, in the words of the last run that left some; None if none are."""
        if self.complete:
            return None
        last = [line["stopped"] for line in self.lines() if "stopped" in line]
        return last[-1] if last else CUT_OFF

    def append(self, line: dict[str, Any]) -> None:
        """Write a line of its own, also where the last one was cut off."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        cut = self.file.is_file() and not self.file.read_bytes().endswith(b"\n")
        with self.file.open("a", encoding="utf-8") as file:
            file.write("\n" * cut + json.dumps(line) + "\n")

    def begin(self, machine: dict[str, Any]) -> None:
        """Write the machine if the file is new.

        Raises:
            OtherMachine: the file has rows of another one.
        """
        if self.machine is None:
            self.append({"machine": machine})
        elif self.machine != machine:
            raise OtherMachine(f"{self.file} has rows of another machine or other versions; give another --out")
