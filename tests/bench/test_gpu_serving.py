"""The service under load as the measurements on a GPU see it, on the CPU and as small as it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.gpu import serving
from bench.gpu.__main__ import section as part_section
from bench.gpu.load.bound import rates
from bench.gpu.load.generators import Heard
from bench.gpu.load.measurement import figures
from bench.gpu.load.tables import section
from bench.gpu.load.usage import Usage, usage
from bench.gpu.part import Row, Setting
from bench.gpu.results import Results
from bench.harness.paths import SHIPPED

SMALL = Setting(seconds=30.0, device="cpu", small=True, bundles=SHIPPED)


def by_key(rows: list[Row]) -> dict[str, Row]:
    return {row["key"]: row for row in rows}


@pytest.mark.slow
def test_the_service_is_loaded_beside_its_bound() -> None:
    rows = by_key(list(serving.PART.measure(SMALL)))
    assert not [row for row in rows.values() if "error" in row]
    loads = [row for row in rows.values() if row["kind"] == "load"]
    assert sum(row["right"] for row in loads) > 0
    assert [row["wrong"] for row in loads] == [{}] * 3
    assert {row["answered_by"] for row in loads} == {"CPUExecutionProvider"}
    assert {graph: set(found) for graph, found in rows["bound resnet20"]["rates"].items()} == {
        "forward": {"1", "8"},
        "weight_norms": {"1", "8"},
    }
    assert rows["host resnet20"]["microseconds"]["decode"] > 0
    assert "| resnet20 | `--execution-provider auto` | /predict | 16 |" in serving.PART.section(list(rows.values()))


def test_rows_that_are_there_start_nothing() -> None:
    done = {"resnet20 auto /predict 1", "resnet20 auto /predict 16", "resnet20 auto /diagnostics/gradients 1"}
    done.add("bound resnet20")
    setting = Setting(30.0, "cpu", True, SHIPPED, frozenset(done))
    assert [row["key"] for row in serving.PART.measure(setting)] == ["host resnet20"]


def test_what_fails_is_named_and_costs_no_other_row(tmp_path: Path) -> None:
    rows = list(serving.PART.measure(Setting(30.0, "cpu", True, tmp_path)))
    assert len(rows) == 5
    assert all("error" in row for row in rows)
    results = Results(tmp_path / "serving.jsonl")
    results.begin({"device": "cpu", "cpu": "any", "onnxruntime": "1", "torch": "2"})
    for row in rows:
        results.append(row)
    said = part_section("serving", tmp_path)
    assert [said.count(f"`{row['key']}`") for row in rows] == [1] * len(rows)


def test_several_generators_are_heard_as_one() -> None:
    heard = [Heard([0.001] * 98, Counter({"503": 1}), busy=0.9), Heard([0.005] * 2, Counter({"503": 1}), busy=0.2)]
    found = figures(heard, seconds=2.0, processor_seconds=0.51)
    assert found["rate"] == 50
    assert found["p50"] == pytest.approx(1.0)
    assert found["p99"] > 1.0
    assert found["wrong"] == {"503": 2}
    assert found["host_us"] == pytest.approx(5000)
    assert found["generators"] == 2
    assert found["generator_busy"] == 0.9


def test_no_right_answer_leaves_no_percentile() -> None:
    found = figures([Heard(wrong=Counter({"500": 3}))], 1.0, 0.3)
    row = {"kind": "load", "net": "net", "provider": "auto", "flags": "", "path": "/predict", "connections": 1, **found}
    said = section([{**row, "device_mib": None, "device_busy": None}])
    assert "0 (and 3 × 500)" in said


def test_the_bound_ends_with_the_last_size_that_runs() -> None:
    bundle = str(SHIPPED / "resnet20")
    assert [set(found) for found in rates(bundle, ["forward"], "cpu", [1, -2, 4], 0.01)] == [{"1"}]
    with pytest.raises(RuntimeError, match="no batch runs"):
        rates(bundle, ["forward"], "cpu", [-1], 0.01)


@pytest.mark.parametrize(
    ("says", "expected"),
    [("echo '1234, 56'", Usage(1234.0, 56.0)), ("echo 'No devices were found'", None), ("exit 9", None)],
)
def test_the_card_is_read_as_its_tool_tells(
    says: str, expected: Usage | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{says}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usage() == expected


def test_without_the_tool_nothing_is_known_of_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usage() is None
