"""Every command and every block of code in the guide and the reference runs, and gives what the page says."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import EXECUTED, REASONS, ROOT, blocks
from tests.docs.running import needed_programs, output_of
from tests.docs.workplace import furnish
from tests.programs import program

LANGUAGES = {"", "sh", "python", "yaml", "json", "toml", "ini", "nginx", "groovy", "text", "promql", "mermaid"}
NAMES = [page.relative_to(ROOT).as_posix() for page in EXECUTED]
WITH_CODE = [
    name for name in NAMES if any(one.language in {"sh", "python"} and not one.reason for one in blocks(ROOT / name))
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imported models: those of one page serve the next."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs_and_writes_what_the_page_shows(name: str, tmp_path: Path, cache: Path) -> None:
    page = blocks(ROOT / name)
    for needed in sorted(needed_programs(page)):
        if program(needed) is None:
            pytest.skip(f"{needed} is not installed")
    furnish(tmp_path)
    try:
        output_of(page, tmp_path, cache)
    finally:
        if (tmp_path / "nginx.pid").exists():
            os.kill(int((tmp_path / "nginx.pid").read_text()), 15)


@pytest.mark.parametrize("name", NAMES)
def test_the_blocks_of_a_page_are_of_known_kinds_and_whole(name: str) -> None:
    for block in blocks(ROOT / name):
        assert block.language in LANGUAGES, block
        assert not block.reason or block.reason in REASONS, block
        match block.language:
            case "json" if not block.reason:
                json.loads(block.code)
            case "yaml":
                list(yaml.safe_load_all(block.code))
            case "toml":
                tomllib.loads(block.code)
            case "sh":
                subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)
            case "python":
                compile(block.code, name, "exec")


def test_a_page_that_claims_what_is_not_so_is_noticed(tmp_path: Path, cache: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\necho one\n```\n\n```text\ntwo\n```\n", encoding="utf-8")
    (tmp_path / "place").mkdir()
    with pytest.raises(AssertionError, match="two\nis not among:"):
        output_of(blocks(page), tmp_path / "place", cache)
    page.write_text("```sh\nfalse\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError):
        output_of(blocks(page), tmp_path / "place", cache)
