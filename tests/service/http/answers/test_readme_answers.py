"""The README's `curl` commands get the answers that it shows, from the shipped bundles."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.live_server import PATIENCE_SECONDS, running

ROOT = Path(__file__).parents[4]
EXAMPLES = dict(re.findall(r"^\$ (curl .+)\n((?:.*\n)+?)```", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
"""Command → what it printed, possibly shortened by `…`."""


def shown_answer(text: str) -> Any:
    """Parse shown JSON, in which "…" stands for left-out lines or the last members."""
    return json.loads(re.sub(r",\s*…", "", re.sub(r"\n\s*…(?=\n)", "", text)))


def assert_shows(shown: Any, found: Any, where: str = "") -> None:
    """Check that `shown` is a part of `found`: members by key, named entries by name, numbers to three digits."""
    if isinstance(shown, dict):
        for key, value in shown.items():
            if key not in ("request_id", "execution_provider"):
                assert_shows(value, found[key], f"{where}.{key}")
    elif isinstance(shown, list) and shown and isinstance(shown[0], dict) and "name" in shown[0]:
        named = {entry["name"]: entry for entry in found}
        for entry in shown:
            assert_shows(entry, named[entry["name"]], f"{where}[{entry['name']}]")
    elif isinstance(shown, list):
        assert len(shown) == len(found), where
        for value, other in zip(shown, found, strict=True):
            assert_shows(value, other, where)
    elif isinstance(shown, float):
        assert shown == pytest.approx(found, rel=1e-3), where
    elif isinstance(shown, str) and " " in shown:
        assert re.sub(r"[\d.]+", "#", shown) == re.sub(r"[\d.]+", "#", found), f"{where}: {found}"
    else:
        assert shown == found, f"{where}: {found}"


def test_there_are_examples_of_both_directions() -> None:
    assert ["/predict" in command for command in EXAMPLES] == [True, False]


def test_every_answer_is_the_one_that_the_readme_shows(tmp_path: Path) -> None:
    (tmp_path / "resnet20").symlink_to(ROOT / "models/bundles/resnet20")
    with running(tmp_path) as server:
        for command, printed in EXAMPLES.items():
            _, option, file, url = shlex.split(command)
            assert option == "--data-binary"
            path = url.removeprefix("localhost:8000")
            answer = httpx.post(
                server.url + path, content=(ROOT / file.removeprefix("@")).read_bytes(), timeout=PATIENCE_SECONDS
            )
            assert_shows(shown_answer(printed), answer.json())
