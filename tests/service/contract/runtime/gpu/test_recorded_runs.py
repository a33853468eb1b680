"""Recorded runs give what plain ones give. A CPU records nothing, but all else is as on a GPU."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.bundles.served_model import ServedGraph
from service.bundles.warm_up import best_speed, trial_feeds
from service.contract.bundle_schema import InputSpec
from service.contract.runtime.gpu.bound import BoundSession
from service.contract.runtime.gpu.pixel_graph import PixelFeed, PixelTable
from service.contract.runtime.gpu.recorded import filled_up
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunCancelled, RunHandle
from service.contract.runtime.session import zeros_for
from service.engine.request_context import RequestContext
from service.engine.scheduler import Scheduler
from service.engine.tickets import Job, Ticket
from service.machine.priority import give_way
from tests.service.contract.runtime.sessions import TWENTY_LAYERS, assert_equal, drawn
from tests.service.tiny_bundles import write_bundle

GRAPHS = sorted(path for path in TWENTY_LAYERS.glob("*.onnx") if path.stem != "explanation")
"""All that are recorded: an explanation decides during the run what to compute."""


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.stem)
def test_recorded_runs_equal_plain_ones_and_smaller_batches_are_filled_up(bound: Runtime, graph: Path) -> None:
    """A CPU records nothing, but all else is as on a GPU: values of their own, one thread, one run at a time."""
    session, plain = bound.open(graph), Runtime("cpu").open(graph)
    assert [session.record(zeros_for(session, batch)) for batch in (1, 4)] == [True, True]
    assert list(session.recorded) == [1, 4]
    # Where samples mix, the service records batches of one only.
    for batch in (4, 1, 5) if graph.stem == "batch_norms" else (4, 1, 3, 4, 5):
        feeds = drawn(plain, batch)
        kept = session.run(feeds)
        session.run(zeros_for(session, batch))
        assert_equal(kept, plain.run(feeds))
        assert_equal(session.run(session.hold(feeds)), plain.run(feeds))
    session.forget(4)
    assert list(session.recorded) == [1]
    session.forget(1)
    assert_equal(session.run(feeds), plain.run(feeds))


def test_a_batch_is_filled_up_to_the_smallest_recording_that_holds_it(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    for batch in (1, 4, 8):
        assert session.record(zeros_for(session, batch))
    assert isinstance(session, BoundSession)
    recordings = session._recordings
    assert recordings is not None
    fitting = {batch: recordings.fitting(zeros_for(session, batch)) for batch in (1, 2, 3, 4, 5, 8, 9)}
    assert fitting == {1: 1, 2: 4, 3: 4, 4: 4, 5: 8, 8: 8, 9: None}


def test_filling_up_repeats_the_last_image() -> None:
    table = PixelTable(np.zeros((1, 256), np.float32), (0,), "nchw")
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    parts = PixelFeed((pixels[:1], pixels[1:]), table)
    filled = filled_up(parts, 4)
    assert isinstance(filled, PixelFeed)
    rows = np.concatenate(filled.parts)
    assert_equal({"rows": rows}, {"rows": pixels[[0, 1, 1, 1]]})
    labels = filled_up(np.array([3, 5]), 4)
    assert isinstance(labels, np.ndarray)
    assert labels.tolist() == [3, 5, 5, 5]


def test_threads_that_meet_at_a_recording_keep_to_their_own_inputs(bound: Runtime) -> None:
    graph = TWENTY_LAYERS / "activation_norms.onnx"
    session, plain = bound.open(graph), Runtime("cpu").open(graph)
    assert session.record(zeros_for(session, 2))
    inputs = [{**drawn(plain, 2), "input": drawn(plain, 2)["input"] + shift} for shift in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(session.run, inputs * 4))
    for outputs, feeds in zip(found, inputs * 4, strict=True):
        assert_equal(outputs, plain.run(feeds))


def test_recording_and_forgetting_leave_the_runs_of_other_threads_as_they_are(bound: Runtime) -> None:
    graph = TWENTY_LAYERS / "forward.onnx"
    session, plain = bound.open(graph), Runtime("cpu").open(graph)
    feeds = drawn(plain, 1)
    expected = plain.run(feeds)
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            assert_equal(session.run(session.hold(feeds)), expected)

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(run) for _ in range(2)]
        try:
            for _ in range(5):
                assert [session.record(drawn(plain, size)) for size in (1, 2)] == [True, True]
                for size in (2, 1):
                    session.forget(size)
        finally:
            stop.set()
        for one in running:
            one.result()


def test_recordings_are_played_as_fast_as_predictions_although_a_loader_gives_way(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1, initializer=give_way) as loader:
        assert loader.submit(session.record, zeros_for(session, 1)).result()
    started = {thread.native_id for thread in set(threading.enumerate()) - before if thread.is_alive()}
    assert [os.getpriority(os.PRIO_PROCESS, number) for number in started if number is not None] == [usual]


def test_a_size_is_recorded_again_under_another_number(bound: Runtime) -> None:
    """ONNX Runtime plays what it has recorded under a number, on the memory of that time."""
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    assert isinstance(session, BoundSession)
    numbers = []
    for size in (1, 2, 2):
        assert session.record(zeros_for(session, size))
        assert session._recordings is not None
        numbers.append(session._recordings._recordings[size].options.get_run_config_entry("gpu_graph_id"))
    assert len(set(numbers)) == 3


def test_a_stopped_run_and_one_that_shrinks_do_not_play_a_recording(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    feeds = zeros_for(session, 1)
    assert session.record(feeds)
    handle = RunHandle()
    handle.stop()
    with pytest.raises(RunCancelled):
        session.run(feeds, handle)
    with pytest.raises(Exception, match="gpu"):
        session.run(feeds, RunHandle(shrinks="gpu:0", quiet=True))


def test_a_graph_that_cannot_be_recorded_runs_plainly_and_says_why_once(
    bound: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    plain = Runtime("cpu").open(TWENTY_LAYERS / "forward.onnx")
    assert bound.device is not None

    def fail() -> Any:
        raise RuntimeError("all the graph nodes have not been assigned to CUDAExecutionProvider")

    session = BoundSession(plain._session, bound.device, fail, "resnet20/forward.onnx")
    feeds = drawn(plain, 2)
    for _ in range(2):
        assert not session.record(feeds)
        assert_equal(session.run(feeds), plain.run(feeds))
    assert caplog.text.count("resnet20/forward.onnx runs without CUDA graphs: RuntimeError: all the graph nodes") == 1


def test_a_recording_that_computes_something_else_is_not_used(bound: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    other = Runtime("cpu").open(TWENTY_LAYERS.with_name("plain20") / "forward.onnx")
    plain = Runtime("cpu").open(TWENTY_LAYERS / "forward.onnx")
    assert bound.device is not None
    session = BoundSession(plain._session, bound.device, lambda: other._session)
    feeds = drawn(plain, 2)
    assert not session.record(feeds)
    assert_equal(session.run(feeds), plain.run(feeds))
    assert "differs from a plain run's" in caplog.text


def test_a_run_that_fails_keeps_the_recording_if_a_plain_run_fails_too(bound: Runtime, tmp_path: Path) -> None:
    session = bound.open(write_bundle(tmp_path, fails_on_white=True) / "forward.onnx")
    black = zeros_for(session, 2)
    expected = session.run(black)
    assert bound.device is not None
    assert session.record(black)
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session.run({"input": np.ones_like(black["input"])}, RunHandle(quiet=True))
    assert session.recorded == (2,)
    assert_equal(session.run(black), expected)


def test_a_size_that_does_not_fit_leaves_the_smaller_recordings(
    bound: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = bound.open(write_bundle(tmp_path, too_many=4) / "forward.onnx")
    assert [session.record(zeros_for(session, batch)) for batch in (1, 2, 4, 3)] == [True, True, False, False]
    assert session.recorded == (1, 2)
    assert "no CUDA graphs beyond batch 2" in caplog.text
    for batch in (1, 2, 3):
        feeds = drawn(session, batch)
        assert_equal(session.run(feeds), Runtime("cpu").open(tmp_path / "tiny" / "forward.onnx").run(feeds))


@pytest.mark.parametrize("is_bound", [True, False])
def test_warming_up_ends_where_memory_is_short(is_bound: bool, tmp_path: Path) -> None:
    session = Runtime("cpu", bound=is_bound).open(write_bundle(tmp_path, too_many=2) / "forward.onnx")
    speed = best_speed(session, 8, diagnostic=False)
    assert (speed.best_batch, session.recorded) == (1, (1,) if is_bound else ())
    assert speed.seconds_per_image > 0


def test_no_batch_is_larger_than_the_largest_recording(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    graph = ServedGraph("resnet20@1", "forward", InputSpec(height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3))
    graph.open(session, 8, 0.001)
    images = np.zeros((7, 32, 32, 3), np.uint8)

    def tickets() -> list[Ticket]:
        return Job(graph, images, None, lambda _: None, RequestContext()).tickets

    assert [ticket.count for ticket in tickets()] == [7]
    assert session.record(zeros_for(session, 1))
    assert session.record(zeros_for(session, 2))
    assert [ticket.count for ticket in tickets()] == [2, 2, 2, 1]
    scheduler = Scheduler(slots=1, max_images=100)
    for _ in range(5):
        scheduler.submit([Ticket(graph, images[:1], None, lambda *_: None)], None)
    batch = scheduler.take()
    assert batch is not None
    assert batch.count == 2


def test_warming_up_measures_a_bound_session_and_its_recordings(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    assert isinstance(trial_feeds(session, 2)["input"], PixelFeed)
    speed = best_speed(session, 4, diagnostic=False)
    assert speed.seconds_per_image > 0
    assert session.recorded == tuple(size for size in (1, 2, 4) if size <= speed.best_batch)
