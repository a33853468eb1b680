"""The README is one screen, and names only targets that exist.

tests/docs runs its commands, and tests/test_project.py follows its links.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_WORDS = 400
"""Without code and the addresses of links."""


def test_it_is_one_screen() -> None:
    read = re.sub(r"\]\([^)]*\)", "]", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    assert len(read.split()) <= MOST_WORDS


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+(?:-[a-z]+)*)", README))
    assert {"serve", "test"} <= named <= targets
