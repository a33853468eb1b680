"""The command `check`, called in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.__main__ import main


def check(*words: str | Path) -> int:
    """Run the command; return its exit status."""
    return main(["check", *map(str, words)])


def answer(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    """Run the command with its answer in JSON; return the exit status and the answer."""
    status = check(*words, "--format", "json")
    said = capsys.readouterr()
    assert said.out, said.err
    found: dict[str, Any] = json.loads(said.out)
    return status, found
