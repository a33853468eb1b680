"""The folders of this repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHIPPED = ROOT / "models" / "bundles"
PHOTOGRAPHS = ROOT / "tests" / "photographs"
CAT = PHOTOGRAPHS / "cat.jpg"
