"""A graph in stages is opened wherever others are: behind links, for several threads, on a device that records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.gradient import differentiate
from export.writing.bundle import graph_files, write_files
from service.contract.runtime.gpu.bound import BoundSession
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunHandle
from service.contract.runtime.session import Session, zeros_for
from tests.export.gradient.networks.torch_networks import catalogued, prepared
from tests.service.contract.runtime.sessions import assert_equal, drawn

LAYERS = (-1, 6, 0)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_files(graph_files({"explanation": differentiate(prepared(catalogued("resnet8")), "explanation")}), folder)
    return folder / "explanation.onnx"


def explained(session: Session, handle: RunHandle | None = None) -> list[dict[str, np.ndarray]]:
    return [session.run(drawn(session, 2) | {"layer": np.array([layer])}, handle) for layer in LAYERS]


def test_a_warm_up_run_goes_the_whole_way(graph: Path) -> None:
    session = Runtime("cpu").open(graph)
    feeds = zeros_for(session, 3)
    assert feeds["layer"].tolist() == [-1]
    assert {name: value.shape for name, value in session.run(feeds).items()} == {
        "logits": (3, 10), "layer_evidence": (3, 0), "logit_gradient": (3, 3 * 32 * 32)
    }  # fmt: skip


def test_its_weights_may_be_behind_a_link_of_another_name(graph: Path, tmp_path: Path) -> None:
    """As in a projected volume, or a cache that keeps files by their digest."""
    (tmp_path / "blobs").mkdir()
    weights = tmp_path / "blobs" / "0123"
    weights.write_bytes((graph.parent / "weights.bin").read_bytes())
    (tmp_path / "weights.bin").symlink_to(weights)
    (tmp_path / graph.name).symlink_to(graph)
    runtime = Runtime("cpu")
    for found, expected in zip(
        explained(runtime.open(tmp_path / graph.name)), explained(runtime.open(graph)), strict=True
    ):
        assert_equal(found, expected)


def test_it_runs_on_several_threads(graph: Path) -> None:
    session = Runtime("cpu", most_threads=2).open(graph)
    expected = explained(session)
    pair = session.open_widened(graph)
    assert pair is not None
    session.widen(*pair)
    for found, before in zip(explained(session, RunHandle(wide=True)), expected, strict=True):
        for name, value in before.items():
            atol = 1e-5 * np.max(np.abs(value), initial=0)
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=atol)


def test_its_runs_are_not_recorded(graph: Path) -> None:
    runtime = Runtime("cpu", bound=True)
    bound = runtime.open(graph)
    assert isinstance(bound, BoundSession)
    recording = BoundSession(bound._session, bound._device, lambda: pytest.fail("a recording is opened"))
    assert not recording.record(zeros_for(recording, 1))
    assert recording.recorded == ()
    for found, expected in zip(explained(recording), explained(Runtime("cpu").open(graph)), strict=True):
        assert_equal(found, expected)
