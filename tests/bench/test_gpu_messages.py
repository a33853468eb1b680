"""The service's words where there is no usable card, as the measurements on a GPU judge it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gpu import messages
from bench.gpu.card import found
from bench.gpu.part import Setting
from bench.gpu.starts import shortage
from bench.gpu.starts.cases import is_as
from bench.gpu.starts.shortage import KEYS, limited
from bench.gpu.starts.trial import Trial, plain, worded
from bench.harness.paths import ROOT, SHIPPED

SMALL = Setting(seconds=30.0, device="cpu", small=True, bundles=SHIPPED)


@pytest.mark.parametrize(
    ("small", "starts"),
    [pytest.param(True, 3, marks=pytest.mark.slow), pytest.param(False, 9, marks=pytest.mark.slow)],
    ids=["fewest", "every way to ask"],
)
def test_what_is_said_without_a_card_is_as_expected(small: bool, starts: int) -> None:
    rows = {row["key"]: row for row in messages.PART.measure(replace(SMALL, small=small))}
    tried = {key: row for key, row in rows.items() if key not in KEYS}
    assert len(tried) == starts
    assert {key: row.get("kept") for key, row in tried.items()} == dict.fromkeys(tried, True)
    assert "exit 2: `error: " in rows["cuda"]["found"]
    assert "/predict: 200 CPUExecutionProvider" in rows["auto"]["found"]
    assert [rows[key]["found"] for key in KEYS] == ["no card"] * len(KEYS)
    lines = messages.PART.section(list(rows.values())).splitlines()
    assert len(lines) == 2 + len(rows)
    assert {line.replace("\\|", "").count("|") for line in lines} == {6}


def ended(folder: Path, log: str) -> Trial:
    """Return a start that ended with status 1 after it had written `log`."""
    (folder / "log").write_text(log)
    process = subprocess.Popen(["false"])
    process.wait()
    return Trial(process, 0, folder / "log", 1.0)


@pytest.mark.parametrize(
    ("log", "kept"),
    [("error: execution_provider=cuda, but no", True), ("Traceback (most recent call last):\nerror: cuda", False)],
)
def test_a_refusal_needs_a_reason_and_no_traceback(log: str, kept: bool, tmp_path: Path) -> None:
    assert is_as("refused, with the reason", ended(tmp_path, log), "cuda") is kept


def test_answers_are_worded_without_folders() -> None:
    problem = {"type": "urn:not-ready", "title": "Not ready", "detail": f"{ROOT}/models: `a|b`", "more": 1}
    assert worded((503, problem)) == "503 urn:not-ready Not ready …/models: 'a\\|b'"
    assert worded((0, {})) == "no answer"
    assert worded((500, ["odd"])) == f"500 {json.dumps(['odd'])}"
    assert plain("free") == "free"
    assert plain(f"{tempfile.gettempdir()}/tmp_xx_04hd/no-driver/libcuda.so.1") == "…/no-driver/libcuda.so.1"


def test_the_log_is_told_without_times_and_without_the_colours_of_a_terminal(tmp_path: Path) -> None:
    said = "[E:onnxruntime:, sequential_executor.cc:677 ExecuteKernel] too little memory"
    trial = ended(tmp_path, f"\x1b[1;31m2026-11-27 19:39:05.655841306 {said}\x1b[m\n2026-11-27 19:39:05,655 ERROR no\n")
    assert trial.lines == [said, "ERROR no"]
    assert trial.found() == f"exit 1: `{said}`; `ERROR no`"


@pytest.mark.skipif(found() == "cuda", reason="there is a card, so it starts")
def test_a_service_that_starts_under_no_limit_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortage, "LIMITS", shortage.LIMITS[:2])
    row = limited(SHIPPED)
    assert row["kept"] is False
    assert row["found"].startswith("does not start: with 128 MiB: exit 2: `")
    assert row["found"].count("exit 2") == 2
