"""Every command of docs/versions.md runs as it stands there, on files of those names and a running service."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import onnx
import pytest
import yaml

from contraflow.__main__ import main
from service.offline.against.limits import KINDS
from tests.export.importing.folders.producers import CLASSES, network
from tests.service.live_server import running

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "versions.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    command
    for _, block in BLOCKS
    for command in re.findall(r"^(?: *- (?:run: )?)?(contraflow check .*)$", block, flags=re.MULTILINE)
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bundles").symlink_to(ROOT / "models" / "bundles")
    for label in (*CLASSES, "truck"):
        (tmp_path / "validation" / label).mkdir(parents=True)
        for name in ("dog.jpg", "truck.jpg"):
            shutil.copy(ROOT / "tests" / "photographs" / name, tmp_path / "validation" / label / name)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    for name in ("new.onnx", "old.onnx"):
        onnx.save(network((8, 8)), tmp_path / name)
    return tmp_path


def test_the_commands_run(place: Path) -> None:
    assert main(["import", "old.onnx", "--preprocessing", "imagenet", "--name", "resnet50", "--out", "served"]) == 0
    with running(place / "served") as server:
        for command in COMMANDS:
            words = shlex.split(command.replace("http://localhost:8000", server.url))[1:]
            if ".onnx" in command:
                words += ["--labels", "classes.txt"]
                if "http://" in command:
                    continue
            assert main(words) == 0, command
        served = next(command for command in COMMANDS if "http://" in command)
        words = shlex.split(served.replace("http://localhost:8000", server.url))[1:]
        assert main([*words, "--unlabelled"]) == 0
    assert all((place / name).stat().st_size for name in ("flips.md", "flips.html", "part1.csv", "part2.csv"))


def test_the_recipe_is_yaml() -> None:
    (recipe,) = [yaml.safe_load(block) for kind, block in BLOCKS if kind == "yaml"]
    assert recipe["jobs"]["new-version"]["steps"][-1]["with"]["path"] == "flips.html"


def test_every_limit_has_its_row() -> None:
    rows = re.findall(r"^\| `--(most-[a-z-]+) ", PAGE, flags=re.MULTILINE)
    assert rows == [kind.flag for kind in KINDS]
