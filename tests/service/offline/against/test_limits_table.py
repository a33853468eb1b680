"""The guide has a row for every limit of a new version."""

from __future__ import annotations

import re
from pathlib import Path

from service.offline.against.limits import KINDS

PAGE = Path(__file__).parents[4] / "docs" / "guide" / "compare-two-versions.md"


def test_every_limit_has_its_row_in_the_guide() -> None:
    rows = re.findall(r"^\| `--(most-[a-z-]+) ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert rows == [kind.flag for kind in KINDS]
