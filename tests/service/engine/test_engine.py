"""The engine's promises, by counts and order, while its one run slot is held."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.held_runs import HeldSession, held_runs
from tests.service.live_server import LiveServer, best_label, picture, running, wait_until
from tests.service.tiny_bundles import ENDLESS, write_bundle

RED, WHITE = picture("red"), picture("white")


@pytest.fixture(scope="module")
def server_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`slow` runs for a third of a second, `endless` until it is stopped, the others at once; warm-up is skipped."""
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "slow", rounds=300)
    write_bundle(folder, "endless", rounds=ENDLESS)
    write_bundle(folder, "held")
    write_bundle(folder, "tiny")
    write_bundle(folder, "picky", fails_on_white=True)
    write_bundle(folder, "hungry", too_many=1)
    write_bundle(folder, "modest", too_many=2)
    with running(folder, default_model="tiny", warm_up=False, max_queued_images=60) as server:
        yield server


@pytest.fixture
def server(server_of_the_module: LiveServer) -> Iterator[LiveServer]:
    """The module's server; after each test its estimates are restored and its connections have ended."""
    server = server_of_the_module
    graphs = [model.graphs["forward"] for model in server.state.registry.models()]
    expected = [graph.seconds_per_image for graph in graphs]
    yield server
    for graph, seconds in zip(graphs, expected, strict=True):
        graph.seconds_per_image = seconds
    wait_until(lambda: not server.server.server_state.connections)
    wait_until(lambda: server.state.engine.scheduler.running == 0)


def request(model: str, data: bytes = RED, headers: str = "") -> bytes:
    head = f"POST /predict?model={model} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def connect(server: LiveServer, message: bytes) -> socket.socket:
    connection = server.connect()
    connection.sendall(message)
    return connection


def waiting(server: LiveServer) -> int:
    return int(server.state.engine.scheduler.waiting_images)


class Blocker:
    """A request that occupies the one run slot until it is let go."""

    def __init__(self, connection: socket.socket, run: HeldSession) -> None:
        self._connection = connection
        self._run = run

    def end(self) -> int:
        """Let its run end, and return the status of its answer."""
        self._run.let_go()
        return status_of(self._connection)


@contextmanager
def hold_back(server: LiveServer) -> Iterator[Blocker]:
    """Occupy the one run slot with the model `held`."""
    with held_runs(server, "held") as run, connect(server, request("held")) as connection:
        wait_until(lambda: server.state.engine.scheduler.running == 1)
        yield Blocker(connection, run)


def go_away(connection: socket.socket, how: str) -> None:
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
    elif how == "half-closed":
        connection.shutdown(socket.SHUT_WR)
    else:
        connection.close()


def status_of(connection: socket.socket) -> int:
    with connection:
        head = connection.recv(65536)
        return int(head.split()[1]) if head else 0


def test_nothing_is_computed_for_clients_who_have_gone(server: LiveServer) -> None:
    ledger = server.state.ledger
    cancelled, images = ledger.requests["cancelled"], ledger.images_run
    with hold_back(server) as blocker:
        connections = [connect(server, request("tiny")) for _ in range(50)]
        wait_until(lambda: waiting(server) == 50)
        for number, connection in enumerate(connections[:40]):
            go_away(connection, ("reset", "orderly", "half-closed")[number % 3])
        wait_until(lambda: waiting(server) == 10)
        for connection in connections[:40]:
            connection.close()
        wait_until(lambda: ledger.requests["cancelled"] - cancelled == 40)
        assert blocker.end() == 200
    assert [status_of(connection) for connection in connections[40:]] == [200] * 10
    assert waiting(server) == 0
    wait_until(lambda: ledger.images_run - images == 11)


def test_a_run_is_stopped_once_every_member_has_gone(server: LiveServer) -> None:
    ledger, scheduler = server.state.ledger, server.state.engine.scheduler
    stopped = ledger.stopped_runs

    def one_is_stopped() -> bool:
        """Ask again if the client went before its run had begun."""
        client = connect(server, request("endless"))
        wait_until(lambda: scheduler.running == 1)
        go_away(client, "reset")
        wait_until(lambda: scheduler.running == 0)
        return ledger.stopped_runs > stopped

    wait_until(one_is_stopped)


def test_whatever_waits_when_the_slot_is_free_runs_together(server: LiveServer) -> None:
    ledger = server.state.ledger
    with hold_back(server) as blocker:
        runs, images = ledger.runs, ledger.images_run
        connections = [connect(server, request("tiny")) for _ in range(8)]
        wait_until(lambda: waiting(server) == 8)
        assert blocker.end() == 200
    assert [status_of(connection) for connection in connections] == [200] * 8
    wait_until(lambda: ledger.images_run - images == 9)
    assert ledger.runs - runs == 2


def test_a_lone_request_waits_for_nobody(server: LiveServer) -> None:
    ledger = server.state.ledger
    runs = ledger.runs
    with server.client() as client:
        for number in range(1, 6):
            assert best_label(client.post("/predict", content=RED)) == "red"
            wait_until(lambda expected=runs + number: ledger.runs == expected)


def test_a_late_request_is_answered_at_its_deadline_while_the_model_is_busy(server: LiveServer) -> None:
    graph = server.state.registry.select("held").graphs["forward"]
    graph.seconds_per_image = 1e-6  # as if it had always been fast: nobody is refused beforehand
    with hold_back(server) as blocker:
        late = connect(server, request("tiny", headers="X-Deadline-Ms: 100\r\n"))
        assert status_of(late) == 504
        assert server.state.engine.scheduler.running == 1
        assert waiting(server) == 0
        assert blocker.end() == 200


def test_who_would_be_late_is_refused_at_once_and_told_the_wait(server: LiveServer) -> None:
    graph = server.state.registry.select("held").graphs["forward"]
    graph.seconds_per_image = 600.0
    with hold_back(server) as blocker, server.client() as client:
        answer = client.post("/predict", content=RED, headers={"x-deadline-ms": "1000"})
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("too-busy")
        assert int(answer.headers["retry-after"]) >= 500
        assert answer.json()["retry_after_ms"] > 500_000
        assert server.state.engine.scheduler.running == 1
        assert blocker.end() == 200


def test_images_are_counted_that_fit_into_a_time_after_what_runs_already(server: LiveServer) -> None:
    engine, models = server.state.engine, server.state.registry
    tiny, held = (models.select(name).graphs["forward"] for name in ("tiny", "held"))
    tiny.seconds_per_image, held.seconds_per_image = 0.5, 600.0
    assert [engine.images_within(tiny, seconds) for seconds in (0.4, 0.6, 10.1)] == [0, 1, 20]
    with hold_back(server) as blocker:
        assert engine.images_within(tiny, 300.0) == 0
        assert 200 <= engine.images_within(tiny, 1000.0) < 400, "a wait of 600 s counts half as much again"
        assert blocker.end() == 200


def test_a_full_queue_refuses_with_the_time_to_come_back(server: LiveServer) -> None:
    for model, seconds in (("held", 0.5), ("tiny", 0.001)):  # measured, they would depend on what else runs here
        server.state.registry.select(model).graphs["forward"].seconds_per_image = seconds
    with hold_back(server) as blocker, server.client() as client:
        connections = [connect(server, request("tiny")) for _ in range(60)]
        wait_until(lambda: waiting(server) == 60)
        answer = client.post("/predict", content=RED)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"].endswith("queue-full")
        assert blocker.end() == 200
    assert [status_of(connection) for connection in connections] == [200] * 60


def test_one_failing_image_never_fails_its_neighbours(server: LiveServer) -> None:
    with hold_back(server) as blocker:
        connections = [connect(server, request("picky", WHITE if n == 3 else RED)) for n in range(6)]
        wait_until(lambda: waiting(server) == 6)
        assert blocker.end() == 200
    assert [status_of(connection) for connection in connections] == [200, 200, 200, 500, 200, 200]


def test_a_run_for_which_memory_is_short_may_be_tried_again(server: LiveServer) -> None:
    with server.client() as client:
        answer = client.post("/predict?model=hungry", content=RED)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == "urn:contraflow:problem:short-of-memory"
        assert answer.json()["detail"].startswith("For this image there is not enough memory.")
        several = client.post("/predict?model=modest", json={"images": [base64.b64encode(RED).decode()] * 3})
        assert several.status_code == 503
        assert several.json()["detail"] == "For 3 images in one run there is not enough memory. Fewer need less."
        assert best_label(client.post("/predict?model=modest", content=RED)) == "red"
    assert server.state.ledger.by_status["/predict", "refused", 503, "hungry@1"] == 1


def test_requests_that_do_not_fit_together_run_one_by_one(server: LiveServer) -> None:
    with hold_back(server) as blocker:
        connections = [connect(server, request("modest")) for _ in range(4)]
        wait_until(lambda: waiting(server) == 4)
        assert blocker.end() == 200
    assert [status_of(connection) for connection in connections] == [200] * 4


def test_an_undecodable_image_never_fails_its_neighbours(server: LiveServer) -> None:
    with hold_back(server) as blocker:
        connections = [connect(server, request("tiny", RED[:45] if n == 1 else RED)) for n in range(4)]
        wait_until(lambda: waiting(server) == 4)
        assert blocker.end() == 200
    assert [status_of(connection) for connection in connections] == [200, 422, 200, 200]


def test_two_models_take_turns(server: LiveServer, tmp_path: Path) -> None:
    """One request for a model does not have to wait until ten requests for another model are done."""
    write_bundle(tmp_path, "many", rounds=60)
    write_bundle(tmp_path, "few", rounds=60)
    finished: list[str] = []
    with (
        running(tmp_path, warm_up=False, max_batch=1) as server,
        ThreadPoolExecutor(12) as pool,
        held_runs(server, "many") as runs,
    ):

        def ask(model: str) -> None:
            with server.client() as client:
                best_label(client.post("/predict", params={"model": model}, content=RED))
            finished.append(model)

        pool.submit(ask, "many")
        wait_until(lambda: server.state.engine.scheduler.running == 1)
        for model in ["many"] * 9 + ["few"]:
            pool.submit(ask, model)
        wait_until(lambda: waiting(server) == 10)
        runs.let_go()
    assert len(finished) == 11
    assert finished.index("few") < 8


def test_a_large_request_is_cut_into_batches_and_put_together_in_order(server: LiveServer) -> None:
    colours = ["red", (0, 255, 0), "blue"] * 13
    files = [("images", picture(colour)) for colour in colours]
    with server.client() as client:
        answer = client.post("/predict", files=files)
    expected = ["red", "green", "blue"] * 13
    assert [best_label(answer, index) for index in range(len(colours))] == expected


def test_an_image_has_the_same_answer_alone_and_among_others(server: LiveServer) -> None:
    with server.client() as client:
        alone = client.post("/predict", content=picture((200, 90, 40))).json()["predictions"][0]
        others = [("images", picture((n, 255 - n, n // 2))) for n in range(0, 250, 25)]
        together = client.post("/predict", files=[*others, ("images", picture((200, 90, 40)))])
    assert together.json()["predictions"][-1] == alone


def test_the_stages_of_server_timing_add_up_to_what_the_client_waited_for(server: LiveServer) -> None:
    """Asked again if a busy machine kept the client itself waiting."""
    with server.client() as client:

        def most_is_told() -> bool:
            began = time.monotonic()
            answer = client.post("/predict", params={"model": "slow"}, content=RED)
            waited = 1e3 * (time.monotonic() - began)
            timings = [part.split(";dur=") for part in answer.headers["server-timing"].split(", ")]
            stages = {stage: float(milliseconds) for stage, milliseconds in timings}
            assert sum(stages.values()) <= waited
            assert stages["run"] > 0.8 * sum(stages.values())
            return sum(stages.values()) > 0.5 * waited

        wait_until(most_is_told)


def test_the_ledger_adds_up(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.client() as client:
        for content in (RED, b"", b"no image", RED):
            client.post("/predict", content=content)
    assert dict(server.state.ledger.requests) == {"answered": 2, "refused": 2}
    assert server.state.ledger.images_run == 2


def test_the_engine_runs_without_http_too(tmp_path: Path) -> None:
    import numpy as np

    from service.app import create_app
    from service.engine.request_context import RequestContext
    from service.settings.fields import Settings

    write_bundle(tmp_path, "tiny")

    async def run() -> None:
        gateway = create_app(Settings(bundles=(tmp_path,), bundle_poll_seconds=0, warm_up=False))
        state = gateway.service
        async with gateway.root.lifespan_context(gateway.root):
            await asyncio.to_thread(state.loader.started.wait)
            tensor = np.zeros((20, 3, 8, 8), np.float32)
            tensor[:, 1] = 1.0
            outputs = await state.engine.run(
                state.registry.select("tiny"), "forward", tensor, request=RequestContext(seconds=30)
            )
        assert outputs["ranking"][:, 0].tolist() == [1] * 20
        np.testing.assert_allclose(outputs["logits"], np.tile([0, 10, 0], (20, 1)), atol=1e-5)

    asyncio.run(run())


def test_predictions_answer_while_clients_hang_and_trickle(server: LiveServer) -> None:
    hanging = [
        connect(server, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc") for _ in range(50)
    ]
    hanging += [connect(server, b"POST /pre") for _ in range(50)]
    with server.client() as client:
        assert best_label(client.post("/predict", content=RED)) == "red"
        assert client.get("/health/live").status_code == 200
    for connection in hanging:
        connection.close()


def test_health_answers_while_the_model_is_busy(server: LiveServer) -> None:
    with connect(server, request("endless")), server.client() as client:
        wait_until(lambda: server.state.engine.scheduler.running == 1)
        assert client.get("/health/live").status_code == 200
        assert server.state.engine.scheduler.running == 1
