"""The comparison of recipes: every option is one change, runs are kept, and the table is what was measured."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from models.__main__ import main
from models.training.comparison import BASE, CHANGES, changed, in_words
from models.training.comparison_page import BEGIN, END, Result, section, seed_spread, write_section
from models.training.recipe import SGD
from models.training.train import Training
from tests.models.small_data import files, write_folder

TOGETHER = {"muon": 2, "muon-slow": 2, "muon-fast": 2, "batch-128": 3, "batch-512": 3}
"""Options that change several fields: the optimizer and its rate, the batch and the rates."""


@pytest.mark.parametrize("name", [name for name in CHANGES if name != BASE])
def test_each_option_changes_one_thing(name: str) -> None:
    base = replace(SGD, epochs=12)
    before, after = asdict(base), asdict(changed(base, name))
    different = {field for field in before if before[field] != after[field]}
    assert 1 <= len(different) <= TOGETHER.get(name, 1)


def test_options_can_be_joined_and_unknown_ones_are_refused() -> None:
    both = changed(SGD, "muon+alternate")
    assert (both.optimizer, both.mirror) == ("muon", "alternate")
    assert in_words("smoothing+longer") == "label smoothing 0.1, twice the epochs"
    with pytest.raises(ValueError, match="unknown option 'shake'; known: base, alternate"):
        changed(SGD, "muon+shake")


def result(option: str, seed: int, error: float) -> Result:
    return Result(option, seed, error, 0.01, 1.5, "cpu")


RESULTS = [result(BASE, 0, 0.10), result(BASE, 1, 0.12), result("muon", 0, 0.08), result("muon", 1, 0.09)]


def test_the_spread_is_pooled_over_the_options() -> None:
    assert seed_spread(RESULTS) == pytest.approx(((0.02**2 / 2 + 0.01**2 / 2) / 2) ** 0.5)
    assert seed_spread(RESULTS[::2]) is None


def test_the_table_says_the_difference_to_the_base_and_its_error() -> None:
    text = section("set up", RESULTS, in_words, BASE)
    assert "| `base` | SGD, mirrored at random, no average | 2 | 11.00 ± 0.79 % | – | 1.00 % | 1.50 |" in text
    row = "| `muon` | Muon on the filters, rate 0.05 | 2 | 8.50 ± 0.79 % | -2.50 ± 1.12 points | 1.00 % | 1.50 |"
    assert row in text
    assert "standard deviation of 1.12 points" in text
    alone = section("set up", RESULTS[::2], in_words, BASE)
    assert "One seed each" in alone
    assert "| 8.00 % | -2.00 points |" in alone


def test_only_what_stands_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n{BEGIN}\nold\n{END}\nend\n")
    write_section(page, "new")
    assert page.read_text() == f"# Page\n{BEGIN}\nnew\n{END}\nend\n"
    page.write_text("# Page\n")
    with pytest.raises(ValueError, match="has no place for the table"):
        write_section(page, "new")
    assert page.read_text() == "# Page\n"


def test_the_command_keeps_its_runs_and_one_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.training.comparison.SGD", replace(SGD, batch_size=2))
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    words = [
        "recipes",
        "--data",
        str(write_folder(tmp_path / "data", files())),
        "--model",
        "resnet8",
        "--device",
        "cpu",
    ]
    words += ["--epochs", "1", "--seeds", "2", "--hold-out", "2", "--out", str(tmp_path / "runs"), "--page", str(page)]
    words += ["--only", "alternate", "averaging-99"]
    step = Training._train_step

    def no_averages(self: Training, *arguments: Any) -> None:
        if self.recipe.averaging:
            raise RuntimeError("out of memory")
        step(self, *arguments)

    monkeypatch.setattr(Training, "_train_step", no_averages)
    assert main(words) == 1
    assert "averaging-99, seed 1: RuntimeError: out of memory" in capsys.readouterr().err
    first = page.read_text()
    assert first.count("\n| `") == 2
    assert "without 2 training images" in first
    monkeypatch.setattr(Training, "_train_step", step)
    assert main(words) == 0
    second = page.read_text().splitlines()
    assert set(first.splitlines()) - set(second) <= {line for line in first.splitlines() if "±" in line}
    assert any(line.startswith("| `averaging-99` |") for line in second)
    assert main([*words, "--minutes", "0"]) == 0
    assert "the time is over" in capsys.readouterr().err


def test_the_command_refuses_what_it_cannot_do_before_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recipes", "--data", str(write_folder(tmp_path / "data", files())), "--model", "resnet8"]
    assert main([*words, "--only", "shake"]) == 2
    assert "unknown option 'shake'" in capsys.readouterr().err
    page = tmp_path / "page.md"
    page.write_text("")
    assert main([*words, "--page", str(page)]) == 2
    assert "has no place" in capsys.readouterr().err
    assert main([*words, "--print", "--hold-out", "6"]) == 2
    assert "6 images cannot be held out of 6" in capsys.readouterr().err
