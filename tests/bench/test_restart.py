"""The measurement of promise 4 with many bundles, with few."""

from __future__ import annotations

from bench.promises.restart import measure


def test_a_process_takes_over_under_load_and_no_request_fails() -> None:
    findings = list(measure(bundles=3))
    assert [finding.kept for finding in findings if finding.kept is not None] == [True] * 3, findings
