"""A graph is widened where it was measured to pay; a lone request then has every core, one among others has one."""

from __future__ import annotations

import gc
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import service.app
import service.bundles.opening
import service.bundles.warm_up
from service.bundles.disk import read_bundle
from service.bundles.opening import GraphOpener
from service.bundles.served_model import ServedModel
from service.contract.bundle_schema import GraphName
from service.contract.runtime.opening import Runtime
from tests.service.contract.runtime.sessions import TWENTY_LAYERS, assert_equal, drawn
from tests.service.held_runs import held_runs
from tests.service.live_server import LiveServer, best_label, picture, running, wait_until

PICTURE = picture("red", (32, 32))


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.app, "available_cpus", lambda: 2.0)
    monkeypatch.setattr(service.bundles.opening, "LEAST_WIDENED", 0.0)
    monkeypatch.setattr(service.bundles.opening, "cores_are_free", lambda count: True)  # whatever else runs here


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    shutil.copytree(TWENTY_LAYERS, tmp_path / "resnet20")
    return tmp_path


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.bundles.warm_up, "MOST_OF_THE_TIME", float("inf"))


def wide_runs(server: LiveServer) -> tuple[int, int]:
    """Return how many runs had every core, and how many there were."""
    return server.state.ledger.wide_runs, server.state.ledger.runs


def is_wide(server: LiveServer, graph: GraphName = "forward") -> bool:
    return server.state.registry.select("resnet20").graphs[graph].wide is not None


@pytest.mark.usefixtures("pays")
def test_a_lone_prediction_has_every_core_and_one_beside_another_has_one(bundles: Path) -> None:
    with running(bundles, run_threads=2) as server, server.client() as client, ThreadPoolExecutor(2) as pool:
        wait_until(lambda: is_wide(server))
        server.state.registry.select("resnet20").graphs["forward"].seconds_per_image = 1.0  # not on the event loop
        alone = client.post("/predict", content=PICTURE)
        assert wide_runs(server) == (1, 1)
        with held_runs(server, "resnet20") as run:
            first = pool.submit(client.post, "/predict", content=PICTURE)
            wait_until(lambda: server.state.engine.scheduler.running == 1)
            second = pool.submit(client.post, "/predict", content=PICTURE)
            wait_until(lambda: server.state.engine.scheduler.running == 2)
            run.let_go()
            together = [first.result(), second.result()]
        assert wide_runs(server) == (2, 3)
        assert {best_label(answer) for answer in together} == {best_label(alone)}
        metrics = client.get("/metrics").text
        assert 'contraflow_runs_wide_total{graph="forward",model="resnet20",version="1"} 2.0' in metrics


@pytest.mark.usefixtures("pays")
def test_a_lone_diagnosis_has_every_core_and_gives_the_same_norms(bundles: Path) -> None:
    address = "/diagnostics/gradients?label=cat"
    norms = []
    for slots in (1, 2):
        with running(bundles, run_threads=slots) as server, server.client() as client:
            client.post(address, content=PICTURE)
            if slots == 2:
                wait_until(lambda server=server: is_wide(server, "weight_norms"))
            answer = client.post(address, content=PICTURE).json()
            norms.append([layer["weight_gradient_norm"] for layer in answer["layers"]])
            assert wide_runs(server)[0] == slots - 1
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)


@pytest.mark.usefixtures("pays")
def test_images_of_one_request_are_shared_out_among_idle_slots(bundles: Path) -> None:
    with running(bundles, run_threads=2) as server, server.client() as client:
        files = [("images", ("red.png", PICTURE, "image/png"))] * 5
        graph = server.state.registry.select("resnet20").graphs["forward"]
        wait_until(lambda: is_wide(server))
        graph.best_batch, graph.seconds_per_image = 8, 1.0
        answer = client.post("/predict", files=files)
        assert len(answer.json()["predictions"]) == 5
        (tally,) = server.state.ledger.tallies.values()
        assert dict(tally.sizes) == {3: 1, 2: 1}
        assert tally.wide == 0


def test_a_graph_that_does_not_gain_stays_on_one_core(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.bundles.warm_up, "MOST_OF_THE_TIME", 0.0)
    with running(bundles, run_threads=2) as server, server.client() as client:
        wait_until(lambda: list(server.state.loader._opener._wide.values()) == [None])
        assert client.post("/predict", content=PICTURE).status_code == 200
        assert wide_runs(server) == (0, 1)
        assert not is_wide(server)


@pytest.mark.usefixtures("pays")
def test_while_other_work_has_the_cores_it_is_not_measured_and_tried_again(
    bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def busy_twice(count: int) -> bool:
        asked.append(count)
        return len(asked) > 2

    monkeypatch.setattr(service.bundles.opening, "cores_are_free", busy_twice)
    monkeypatch.setattr(service.bundles.opening, "FIRST_WAIT_FOR_CORES", 0.01)
    with running(bundles, run_threads=2) as server:
        wait_until(lambda: is_wide(server))
    assert asked == [2, 2, 2]


@pytest.mark.usefixtures("pays")
@pytest.mark.parametrize("cpus", [1.0, 1.5])
def test_on_one_core_nothing_is_widened(bundles: Path, cpus: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.app, "available_cpus", lambda: cpus)
    with running(bundles, run_threads=2) as server, server.client() as client:
        session = server.state.registry.select("resnet20").graphs["forward"].session
        assert session is not None
        assert session.most_threads == 1
        assert server.state.loader._opener.next_try is None
        assert client.post("/predict", content=PICTURE).status_code == 200
        assert wide_runs(server) == (0, 1)


@pytest.mark.usefixtures("pays")
def test_a_folder_that_holds_another_bundle_by_then_changes_nothing(
    bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = Runtime("cpu", most_threads=2)
    opener = GraphOpener(runtime, max_batch=1)
    model = ServedModel(read_bundle(bundles / "resnet20"), runtime.provider)
    graph = model.graph("forward")
    opener.load_now(model, graph)
    session = graph.session
    assert session is not None
    feeds = drawn(session, 1)
    expected = session.run(feeds)
    shutil.rmtree(bundles / "resnet20")
    shutil.copytree(TWENTY_LAYERS.with_name("plain20"), bundles / "resnet20")
    assert opener.widen_next()
    assert graph.wide is None
    assert session._wide is None
    assert_equal(session.run(feeds), expected)
    assert "stays on one thread" in caplog.text


def test_a_model_that_is_served_no_longer_is_not_kept_by_a_try_to_come(
    bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.bundles.opening, "cores_are_free", lambda count: False)
    runtime = Runtime("cpu", most_threads=2)
    opener = GraphOpener(runtime, max_batch=1)
    model = ServedModel(read_bundle(bundles / "resnet20"), runtime.provider)
    opener.load_now(model, model.graph("forward"))
    assert opener.measure_next()
    assert opener.widen_next()
    session = weakref.ref(model.graph("forward").session)
    assert opener.next_try is not None
    del model
    gc.collect()
    assert session() is None
