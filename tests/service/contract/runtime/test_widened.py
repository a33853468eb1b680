"""A session that was widened gives what it gave before, on one thread and on several, from one copy of its weights."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunCancelled, RunHandle
from service.contract.runtime.session import Session
from service.contract.runtime.widened import room_for
from service.machine.priority import give_way
from tests.service.contract.runtime.sessions import BUNDLES, TWENTY_LAYERS, assert_equal, drawn

GRAPHS = [*sorted(TWENTY_LAYERS.glob("*.onnx")), BUNDLES / "plain20-sigmoid" / "weight_norms.onnx"]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def widened(graph: Path) -> Session:
    session = Runtime("cpu", most_threads=2).open(graph)
    pair = session.open_widened(graph)
    assert pair is not None
    session.widen(*pair)
    return session


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_one_thread_gives_the_same_bits_and_several_the_same_but_for_rounding(graph: Path) -> None:
    plain, session = Runtime("cpu").open(graph), widened(graph)
    for batch in (1, 3):
        feeds = drawn(plain, batch)
        expected = plain.run(feeds)
        assert_equal(session.run(feeds), expected)
        for name, value in session.run(feeds, RunHandle(wide=True)).items():
            np.testing.assert_allclose(
                value, expected[name], rtol=1e-4, atol=1e-6 * np.max(np.abs(expected[name]), initial=0)
            )


def test_both_sessions_map_the_same_weights_of_a_file_that_is_gone(temporary: Path) -> None:
    graph = TWENTY_LAYERS / "forward.onnx"
    pair = Runtime("cpu", most_threads=2).open(graph).open_widened(graph)
    assert pair is not None
    one, several = pair
    assert list(temporary.iterdir()) == []
    of_both = mapped(temporary)
    feeds = drawn(one, 1)
    expected = one.run(feeds)
    del one, pair
    of_several = mapped(temporary)
    assert len(of_both) == 2 * len(of_several) > 0
    assert len({inode for inode, _ in of_both}) == 1, "one file of weights"
    np.testing.assert_allclose(several.run(feeds)["logits"], expected["logits"], rtol=1e-4, atol=1e-5)


def mapped(folder: Path) -> list[tuple[str, str]]:
    """Return the files of `folder` that are mapped into memory: the inode and the place of each map."""
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    return [(words[4], words[0]) for words in maps]


def test_the_threads_of_a_session_have_the_usual_priority_though_the_loader_gives_way() -> None:
    before = set(os.listdir("/proc/self/task"))
    sessions: list[Session] = []
    runtime = Runtime("cpu", most_threads=3)

    def widen_as_the_loader_does() -> None:
        give_way()
        session = runtime.open(TWENTY_LAYERS / "forward.onnx")
        pair = session.open_widened(TWENTY_LAYERS / "forward.onnx")
        assert pair is not None
        sessions.append(pair[1])

    loader = threading.Thread(target=widen_as_the_loader_does)
    loader.start()
    loader.join()
    new = set(os.listdir("/proc/self/task")) - before - {str(loader.native_id)}
    priorities = [os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in new]
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert priorities.count(usual) >= 2, "the threads of the session, and the one that opened it"
    assert set(priorities) == {usual}


def test_a_bundle_behind_a_link_is_widened_too(tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(TWENTY_LAYERS)
    session = widened(tmp_path / "linked" / "forward.onnx")
    feeds = drawn(session, 1)
    assert_equal(session.run(feeds), Runtime("cpu").open(TWENTY_LAYERS / "forward.onnx").run(feeds))


def test_a_run_on_several_threads_is_stopped_like_any_other() -> None:
    session = widened(TWENTY_LAYERS / "forward.onnx")
    handle = RunHandle(wide=True)
    handle.stop()
    with pytest.raises(RunCancelled):
        session.run(drawn(session, 1), handle)


def test_on_one_core_there_is_nothing_to_widen() -> None:
    session = Runtime("cpu", most_threads=1).open(TWENTY_LAYERS / "forward.onnx")
    assert session.most_threads == 1
    assert session.open_widened(TWENTY_LAYERS / "forward.onnx") is None


def test_a_run_that_may_take_every_thread_takes_one_where_the_session_was_not_widened() -> None:
    session = Runtime("cpu", most_threads=2).open(TWENTY_LAYERS / "forward.onnx")
    assert session._wide is None
    assert_equal(session.run(drawn(session, 1), RunHandle(wide=True)), session.run(drawn(session, 1)))


@pytest.mark.parametrize(("missing_bytes", "is_opened"), [(0, True), (1, False)])
def test_a_session_is_not_widened_where_memory_is_short(
    missing_bytes: int, is_opened: bool, caplog: pytest.LogCaptureFixture
) -> None:
    weights = (TWENTY_LAYERS / "weights.bin").stat().st_size
    left = room_for(weights) - missing_bytes
    runtime = Runtime("cpu", most_threads=2, memory_left=lambda: left)
    with caplog.at_level(logging.WARNING):
        pair = runtime.open(TWENTY_LAYERS / "forward.onnx").open_widened(TWENTY_LAYERS / "forward.onnx")
    assert (pair is not None) == is_opened
    assert ("may take" in caplog.text) != is_opened


def test_where_no_temporary_file_can_be_written_each_session_has_weights_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    with caplog.at_level(logging.INFO):
        session = widened(TWENTY_LAYERS / "forward.onnx")
    assert "there is no folder for temporary files" in caplog.text
    feeds = drawn(session, 1)
    expected = session.run(feeds)
    for name, value in session.run(feeds, RunHandle(wide=True)).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)
