"""The steps of the Indexed Job with a stand-in for the diagnosis; tests/container runs them with the real one."""

from __future__ import annotations

import runpy
import threading
import time
from pathlib import Path

import pytest

STEPS = Path(__file__).parents[3] / "deploy" / "kubernetes" / "batch"


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of reports, beside a package `service` whose diagnosis only writes down what it was asked."""
    package = tmp_path / "service"
    package.mkdir()
    package.joinpath("__main__.py").write_text(
        "import os, pathlib, sys\n"
        "arguments = sys.argv[1:]\n"
        "out = pathlib.Path(arguments[arguments.index('--out') + 1])\n"
        "parts = arguments[arguments.index('--merge') + 1:] if '--merge' in arguments else []\n"
        "shard = arguments[arguments.index('--shard') + 1] if '--shard' in arguments else ''\n"
        "out.write_text(shard + ''.join(pathlib.Path(part).read_text() for part in parts))\n"
        "sys.exit(int(os.environ.get('DIAGNOSIS_EXIT', '0')))\n"
    )
    reports = tmp_path / "reports"
    reports.mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "SHARDS": "3", "BUNDLE": "/b", "IMAGES": "/i", "REPORTS": str(reports), "POD": "pod", "POLL_SECONDS": "0.01",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return reports


def run(step: str) -> int:
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(STEPS / step), run_name="__main__")
    assert isinstance(end.value.code, int)
    return end.value.code


def shard(index: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("SHARD_INDEX", str(index))
    return run("shard.py")


def test_kubernetes_counts_from_zero_and_the_diagnosis_from_one(batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shard(0, monkeypatch) == 0
    assert batch.joinpath("shard-1-of-3.csv").read_text() == "1/3"


def test_a_shard_that_failed_leaves_no_report(batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGNOSIS_EXIT", "2")
    assert shard(1, monkeypatch) == 2
    assert not list(batch.glob("shard-*"))


def test_a_shard_done_twice_is_merged_once_and_in_order(batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in (2, 0, 1, 0):
        assert shard(index, monkeypatch) == 0
    batch.joinpath("attempt-killed-shard-2.csv").write_text("half")
    assert run("merge.py") == 0
    assert batch.joinpath("report.html").read_text() == "1/32/33/3"


def test_the_merge_waits_for_the_last_shard(
    batch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in (0, 2):
        shard(index, monkeypatch)
    naps: list[float] = []
    sleep = time.sleep

    def nap(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():  # a service of other tests
            sleep(seconds)
            return
        naps.append(seconds)
        if len(naps) == 2:
            shard(1, monkeypatch)

    monkeypatch.setattr("time.sleep", nap)
    assert run("merge.py") == 0
    assert naps == [0.01, 0.01]
    assert "waiting for shard-2-of-3.csv" in capsys.readouterr().out
