"""The third-party files that the pages need, which no package manager lists: read from the table in their README."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "service" / "static" / "vendor"

ROW = re.compile(
    r"^\| \[`(?P<name>[^`]+)`\]\((?P<address>[^)]+)\) (?P<version>\S+) \|.*\| (?P<licence>\S+) \|$", re.MULTILINE
)


@dataclass(frozen=True)
class Vendored:
    """One npm package whose files are in the service, unmodified."""

    name: str
    version: str
    licence: str
    """Identifier of SPDX."""
    address: str

    @property
    def folder(self) -> Path:
        return FOLDER / f"{self.name.split('/')[-1]}-{self.version}"


def vendored() -> list[Vendored]:
    """Return the packages of service/static/vendor, in the order of its table."""
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    return [Vendored(**row.groupdict()) for row in ROW.finditer(table)]
