"""Exceptions in the loader's thread: the next round comes, and a thread that has ended is not live."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

from tests.service.bundles.steps import metric, predict
from tests.service.live_server import PATIENCE_SECONDS, best_label, held_start, running, wait_until
from tests.service.tiny_bundles import write_bundle


def strike(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raises `error` in `thread`, at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error))


def test_an_exception_in_a_round_is_counted_and_the_next_round_comes(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, bundle_poll_seconds=0.05) as server, server.client() as client:
        strike(server.state.loader._thread, ValueError)
        wait_until(lambda: metric(client, "contraflow_loader_errors_total") == 1)
        write_bundle(tmp_path, "second")
        wait_until(lambda: predict(client, "second").status_code == 200)
        assert client.get("/health/live").status_code == 200


def test_a_start_that_fails_on_its_way_is_begun_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_bundle(tmp_path, name)
    with held_start(tmp_path, "models: ") as (server, gate), server.client() as client:
        strike(server.state.loader._thread, ValueError)
        gate.let_go()
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert server.state.loader.errors == 1
        assert [best_label(predict(client, name)) for name in ("a", "b")] == ["red", "red"]


def test_a_loader_that_has_ended_all_the_same_is_not_live(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, bundle_poll_seconds=0.05) as server, server.client() as client:
        strike(server.state.loader._thread, SystemExit)
        server.state.loader._thread.join(PATIENCE_SECONDS)
        answer = client.get("/health/live")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:contraflow:problem:loader-ended")
        assert answer.json()["detail"] == "The loader of bundles has ended: SystemExit."
        assert client.get("/v2/health/live").status_code == 503
        assert best_label(predict(client)) == "red"
