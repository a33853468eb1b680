"""Every command of docs/gate.md runs as it stands there, on a file of that name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import onnx
import pytest
import yaml

from contraflow.__main__ import main
from tests.export.importing.folders.producers import network

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        command.split(" || ")[0].split(" | ")[0].split(" >> ")[0]
        for _, block in BLOCKS
        for command in re.findall(r"^(?: *- (?:run: )?)?(contraflow (?:check|import) .*)$", block, flags=re.MULTILINE)
    }
)


def test_the_recipes_are_yaml() -> None:
    recipes = [yaml.safe_load(block) for kind, block in BLOCKS if kind == "yaml"]
    assert len(recipes) == 3
    assert recipes[2]["models"]["artifacts"]["reports"]["junit"] == "models.xml"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(cache))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bundles").symlink_to(ROOT / "models" / "bundles")
    (tmp_path / "validation").symlink_to(ROOT / "tests" / "photographs")
    for place in ("new.onnx", "models/first.onnx"):
        onnx.save(network((8, 8)), tmp_path / place)
    words = shlex.split(command.replace("models/*.onnx", "models/first.onnx").replace("/srv/bundles", "out"))[1:]
    assert main(words) == (1 if "plain20-sigmoid" in command else 0)
    reports = [tmp_path / words[index + 1] for index, word in enumerate(words) if word == "--report"]
    assert all(report.stat().st_size for report in reports)
