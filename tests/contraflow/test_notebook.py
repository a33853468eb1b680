"""The notebook docs/python.ipynb, run cell by cell, with a service where it expects one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.service.live_server import running

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "python.ipynb").read_text(encoding="utf-8"))
ADDRESS = "http://localhost:8000"


def code_cells() -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_it_has_ten_cells_and_stores_no_output() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len(NOTEBOOK["cells"]) == len({cell["id"] for cell in NOTEBOOK["cells"]}) == 10
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in NOTEBOOK["cells"])


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT / "docs")
    assert sum(ADDRESS in cell for cell in code_cells()) == 1
    (tmp_path / "resnet20").symlink_to(ROOT / "models" / "bundles" / "resnet20")
    variables: dict[str, Any] = {}
    with running(tmp_path, warm_up=False) as server:
        for number, cell in enumerate(code_cells(), 1):
            exec(
                compile(cell.replace(ADDRESS, server.url), f"<code cell {number}>", "exec", dont_inherit=True),
                variables,
            )
    said = capsys.readouterr().out
    assert "dog.jpg [('dog', " in said
    assert "resnet20: healthy" in said
    assert "plain20-sigmoid: vanishing" in said
    assert variables["by_layer"].shape == (20, 4)
    assert variables["largest"] < 1e-5
    assert variables["weight_square"].shape == (2, 20)
