"""The measured rows on disk: written after each, so that a run can be ended and taken up again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from export.coverage.rows import Row


class Store:
    """Rows by key, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def status(self, key: str) -> str:
        """Return the status of a row, "missing" where there is none."""
        return str(self.rows[key]["status"]) if key in self.rows else "missing"

    def put(self, key: str, row: Row) -> None:
        """Keep a row, on disk too."""
        self.rows[key] = row
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self.rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(partial, self._path)
