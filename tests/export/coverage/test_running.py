"""Running the measurement: children with a limit, the cache of exports, rows that are kept, and the page."""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from export.coverage import children
from export.coverage.children import Died, OutOfTime, Raised, in_child
from export.coverage.store import Store


@pytest.fixture(autouse=True)
def nothing_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PRELOADED", [])


def answer(value: int) -> int:
    return value + 1


def sleep() -> None:
    time.sleep(60)


def crash() -> None:
    os.abort()


def refuse() -> None:
    raise ValueError("first line\nsecond line")


def test_a_child_returns_its_answer() -> None:
    assert in_child(answer, 1, seconds=60) == 2


def test_a_child_that_takes_too_long_is_ended() -> None:
    with pytest.raises(OutOfTime, match="no answer within 1 s"):
        in_child(sleep, seconds=1)


def test_a_child_that_crashes_harms_nobody() -> None:
    with pytest.raises(Died, match="ended with code"):
        in_child(crash, seconds=60)


def test_what_a_child_raises_comes_back_in_one_line_with_its_trace() -> None:
    with pytest.raises(Raised) as caught:
        in_child(refuse, seconds=60)
    assert caught.value.summary == "ValueError: first line"
    assert "in refuse" in caught.value.trace


def test_rows_are_on_disk_at_once_and_a_run_can_be_taken_up_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "coverage.json")
    assert store.status("a, dynamo") == "missing"
    store.put("a, dynamo", {"status": "right"})
    assert Store(tmp_path / "coverage.json").status("a, dynamo") == "right"
    assert not list(tmp_path.glob("*.partial"))


def row(status: str, by: str = "dynamo", **more: Any) -> dict[str, Any]:
    return {"package": "timm", "name": "resnet18", "by": by, "status": status, "layers": 21, "seconds": 0.5, **more}


def page_of(rows: dict[str, dict[str, Any]], folder: Path) -> str:
    page = pytest.importorskip("export.coverage.page", reason="the extra `coverage` is not installed")
    page.write(rows, folder / "coverage.md", "a machine", listed=7, day=date(2026, 1, 2))
    return (folder / "coverage.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")
def test_the_page_counts_what_is_right_and_lists_every_refusal_with_its_sentence(tmp_path: Path) -> None:
    rivals = {"onnx2torch": "right", "onnx2pytorch": "wrong", "onnx-ad": "ValueError: no"}
    rows = {
        "timm/resnet18, dynamo": row("right", differences={"weight": 2e-6, "input": 1e-7}, rivals=rivals),
        "timm/resnet18, tracing": row("refused", "tracing", sentence="Foo (node 'x'): there is no rule", rivals=rivals),
        "timm/vgg11, dynamo": row("not exported", sentence="torch says no") | {"name": "vgg11"},
    }
    text = page_of(rows, tmp_path)
    words = " ".join(text.split())
    assert "Of 2 files of 1 architectures, 1 import, 1 give right gradients (50.0 %), and none give wrong" in words
    assert "Measured on 2026-01-02, on a machine, with torch " in words
    assert "The list has 7 entries. 3 of them are measured. For 1 of these the exporter wrote no file." in words
    assert "| Contraflow | 1 | 2 | yes |" in text
    assert "| timm | resnet18 | 21 | 2e-06, 0.5 s | refused |  |" in text
    assert "- **timm/resnet18, tracing**: Foo (node 'x'): there is no rule" in text
    assert "- **timm/vgg11, dynamo**: torch says no" in text


@pytest.mark.filterwarnings("ignore")
def test_a_row_that_is_exact_in_float64_alone_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    rivals = dict.fromkeys(("onnx2torch", "onnx2pytorch", "onnx-ad"), "wrong")
    row_of_both = row("exact", differences={"input": 0.2}, float64={"input": 5e-13}, rivals=rivals)
    text = page_of({"timm/a, dynamo": row_of_both}, tmp_path)
    assert "1 import, 0 give right gradients (0.0 %), and none give wrong ones" in " ".join(text.split())
    assert "- **timm/a, dynamo**: 5e-13 in float64, 2e-01 in float32" in text
    assert "| Contraflow | 0 | 1 | yes |" in text


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_row_stands_first_among_the_exceptions(tmp_path: Path) -> None:
    rows = {
        "timm/a, dynamo": row("refused", sentence="no"),
        "timm/b, dynamo": row("wrong", differences={"weight": 0.5}),
    }
    text = page_of(rows, tmp_path)
    assert "and 1 give wrong ones" in " ".join(text.split())
    assert text.index("## Wrong") < text.index("## Refused")
    assert "**wrong**, 5e-01, 0.5 s" in text
