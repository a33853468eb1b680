"""The soak, in its shortest form."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.soak.play import soak
from bench.soak.server import ROOT

BUNDLES = ROOT / "models" / "bundles"


@pytest.mark.skipif(not (BUNDLES / "resnet20").exists(), reason="no trained bundles in this checkout")
def test_mixed_requests_are_answered_right_and_counted_while_bundles_change_and_runs_fail(tmp_path: Path) -> None:
    for name in ("plain20", "resnet20"):
        shutil.copytree(BUNDLES / name, tmp_path / "bundles" / name)
    log = soak(400, tmp_path / "bundles", most_pictures=2, warm_up=False)
    assert log.faults() == []
    assert log.answers.total() == 400
    assert all(log.sent[kind.name] > 0 for kind in log.kinds)
    assert len(log.changes) == 8
    assert all(log.changes.values())
