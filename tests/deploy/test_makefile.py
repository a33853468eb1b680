"""Targets of the Makefile: what `serve` would run, and what `clean` leaves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT
from tests.programs import needs

pytestmark = needs("make")


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ([], "--default-model resnet20"),
        (["BUNDLES=models/bundles/"], "--default-model resnet20"),
        (["BUNDLES=/my/bundles"], None),
        (["BUNDLES=/my/bundles", "DEFAULT_MODEL=mine@2"], "--default-model mine@2"),
    ],
)
def test_make_serve_names_a_default_of_the_shipped_bundles_only(arguments: list[str], flag: str | None) -> None:
    command = ["make", "--dry-run", "--always-make", "serve", "ACCELERATOR=cpu", *arguments]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    serving = said[said.index("-m service") :]
    assert "--bundles" in serving
    assert (flag in serving) if flag else "--default-model" not in serving


def test_make_clean_leaves_what_people_made(tmp_path: Path) -> None:
    kept = {"data/cat.jpg", "models/runs/resnet20.pt", "service/app.py", ".venv/bin/python", "Makefile"}
    removed = {
        ".venv-cpu/installed", ".venv-gpu/installed", ".venv-dev/installed", ".venv-bench/installed",
        "build/container.xml", "contraflow.egg-info/PKG-INFO", "service/http/__pycache__/app.pyc",
        ".mypy_cache/x", ".ruff_cache/x", ".pytest_cache/x", ".hypothesis/x",
    }  # fmt: skip
    for name in kept | removed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_every_ignored_product_is_cleaned_except_training_runs() -> None:
    """Commands make the files that git ignores."""
    (recipe,) = re.findall(r"^clean:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}
    cleaned = set(recipe.split())
    assert ignored - cleaned == {".venv*", "*.pyc", "models/runs"}
