"""A session bound to a device gives what a plain one gives, bit for bit. The device is the CPU, the code a GPU's."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from service.contract.arrays import Array
from service.contract.norms import measure
from service.contract.runtime.gpu.bound import BoundSession
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunCancelled, RunHandle
from service.contract.runtime.session import Session, zeros_for
from tests.service.contract.runtime.sessions import BUNDLES, TWENTY_LAYERS, assert_equal, drawn
from tests.service.tiny_bundles import ENDLESS, write_bundle

SHIPPED = sorted(BUNDLES.glob("*/*.onnx"))


@pytest.mark.parametrize("graph", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_equals_a_plain_session_at_several_batch_sizes_in_turn(bound: Runtime, graph: Path) -> None:
    session, plain = bound.open(graph), Runtime("cpu").open(graph)
    assert isinstance(session, BoundSession)
    for batch in (2, 1, 5, 2):
        feeds = drawn(plain, batch)
        assert_equal(session.run(feeds), plain.run(feeds))


def test_inputs_that_are_held_serve_every_run_of_a_measurement(bound: Runtime) -> None:
    graph = TWENTY_LAYERS / "weight_norms.onnx"
    session, plain = bound.open(graph), Runtime("cpu").open(graph)
    feeds = drawn(plain, 3)
    feeds["input"][1] *= 1e5  # so sure of its class that its gradients need larger scales
    del feeds["cotangent_scale"]
    scales: list[list[float]] = []

    def run(session: Session, feeds: Mapping[str, Any]) -> dict[str, Array]:
        def at(scale: Array) -> dict[str, Array]:
            scales.append(scale.tolist())
            return session.run({**feeds, "cotangent_scale": scale})

        return measure(at, 3)

    assert_equal(run(session, session.hold(feeds)), run(plain, feeds))
    assert len(scales) > 2


def test_threads_that_run_at_the_same_time_keep_to_their_own_inputs(bound: Runtime) -> None:
    graph = TWENTY_LAYERS / "activation_norms.onnx"
    session, plain = bound.open(graph), Runtime("cpu").open(graph)
    batches = [1, 3, 2, 4] * 4
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda batch: session.run(drawn(plain, batch)), batches))
    for batch, outputs in zip(batches, found, strict=True):
        assert_equal(outputs, plain.run(drawn(plain, batch)))
    assert bound.device is not None
    assert bound.device.host.made <= 4


def test_a_run_is_stopped_before_it_begins_and_while_it_lasts(bound: Runtime, tmp_path: Path) -> None:
    session = bound.open(write_bundle(tmp_path, rounds=ENDLESS) / "forward.onnx")
    stopped = RunHandle()
    stopped.stop()
    for handle in (stopped, RunHandle()):
        ended = threading.Event()

        def run(handle: RunHandle = handle, ended: threading.Event = ended) -> None:
            with pytest.raises(RunCancelled):
                session.run(zeros_for(session, 1), handle)
            ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        handle.stop()
        thread.join()
        assert ended.is_set()


def test_a_run_that_fails_leaves_everything_usable(bound: Runtime, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, fails_on_white=True)
    session = bound.open(bundle / "forward.onnx")
    black = zeros_for(session, 2)
    white = {"input": np.ones_like(black["input"])}
    expected = Runtime("cpu").open(bundle / "forward.onnx").run(black)
    for _ in range(3):
        with pytest.raises(Exception, match="indices element out of data bounds"):
            session.run(white, RunHandle(quiet=True))
        with pytest.raises(Exception, match="Failed to find input name"):
            session.run({"nobody": white["input"]}, RunHandle(quiet=True))
        assert_equal(session.run(black), expected)
    assert bound.device is not None
    assert bound.device.host.made == 1


def test_outputs_stay_as_they_are_when_the_session_runs_again(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    feeds = drawn(session, 2)
    first = session.run(feeds)
    kept = {name: value.copy() for name, value in first.items()}
    session.run(zeros_for(session, 2))
    assert_equal(first, kept)


def test_memory_is_given_back_by_the_name_of_the_device(bound: Runtime) -> None:
    session = bound.open(TWENTY_LAYERS / "forward.onnx")
    assert session.arena == "cpu:0"
    session.run(zeros_for(session, 1), RunHandle(shrinks=session.arena))
    with pytest.raises(Exception, match="gpu"):
        session.run(zeros_for(session, 1), RunHandle(shrinks="gpu:0", quiet=True))


def test_who_works_alone_on_a_device_waits_for_the_others(bound: Runtime) -> None:
    assert bound.device is not None
    turns, order = bound.device.turns, []
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with turns.shared():
            entered.set()
            leave.wait()
            order.append("shared")

    def alone() -> None:
        with turns.alone():
            order.append("alone")

    threads = [threading.Thread(target=work), threading.Thread(target=alone)]
    threads[0].start()
    entered.wait()
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join()
    with turns.shared():
        assert order == ["shared", "alone"]


def test_a_plain_session_runs_without_the_binding() -> None:
    session = Runtime("cpu").open(TWENTY_LAYERS / "forward.onnx")
    assert type(session) is Session
    assert isinstance(session._session, ort.InferenceSession)
