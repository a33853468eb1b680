"""Metrics add up exactly: random traffic with faults, then /metrics, the statistics and the client's log agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.harness.client import post
from bench.promises.counts import agreement, kinds
from tests.service.live_server import picture, running
from tests.service.tiny_bundles import write_bundle


@pytest.mark.parametrize("seed", range(3))
def test_what_the_service_counts_is_what_its_clients_saw(tmp_path: Path, seed: int) -> None:
    write_bundle(tmp_path, "tiny")
    write_bundle(tmp_path, "other")
    write_bundle(tmp_path, "picky", fails_on_white=True)
    failing = post("/predict?model=picky", picture("white"))
    among = kinds(["tiny", "other", "picky"], picture((200, 30, 90)), failing)
    with running(tmp_path, default_model="tiny", run_threads=2) as server:
        figures = list(agreement(server.port, among, 400, 8, seed))
    assert [figure for figure in figures if figure.kept is False] == []
    counts = {figure.what.split(":")[0]: figure.value for figure in figures}
    assert all(int(counts[f"requests {outcome}"]) > 0 for outcome in ("answered", "refused", "cancelled", "failed"))
