"""The soak, in its shortest form."""

from __future__ import annotations

from pathlib import Path

from tiny_bundles import write_bundle

from bench.soak import soak


def test_mixed_requests_are_answered_right_and_counted_while_a_bundle_is_swapped(tmp_path: Path) -> None:
    write_bundle(tmp_path, "first")
    write_bundle(tmp_path, "second")
    log = soak(300, tmp_path)
    assert log.faults() == []
    assert log.answers.total() == 300
    assert min(log.total(kind) for kind in ("good", "bad", "cancelled")) > 0
