"""How many points `/diagnostics/shattering` takes where a model is slow, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.bundles.served_model import ServedGraph
from service.diagnostics.shattering.points import LEAST_POINTS, POINTS, STEP, chosen_points
from tests.service.live_server import LiveServer, running, wait_until
from tests.service.slow_sessions import SlowSession

ROOT = Path(__file__).parents[3]
CAT = (ROOT / "tests" / "photographs" / "cat.jpg").read_bytes()
SECONDS = 0.05
"""Seconds that a run of one image takes at the least."""


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    bundles = ROOT / "models" / "bundles"
    with running(bundles, default_model="resnet20", warm_up=False, deadline_ms=300_000) as server:
        with server.client() as client:
            assert ask(client, points=LEAST_POINTS).status_code == 200, "its graph is loaded now"
        yield server


@pytest.fixture
def graph(server: LiveServer) -> Iterator[ServedGraph]:
    """The graph that the path runs, as it was at first."""
    graph = server.state.registry.select("resnet20").graphs["input_gradient"]
    session, seconds = graph.session, graph.seconds_per_image
    yield graph
    graph.session, graph.seconds_per_image = session, seconds


@pytest.fixture
def slow(graph: ServedGraph) -> ServedGraph:
    assert graph.session is not None
    graph.session, graph.seconds_per_image = SlowSession(graph.session, SECONDS), SECONDS
    return graph


def ask(client: httpx.Client, *, deadline: float = 30.0, **options: Any) -> httpx.Response:
    headers = {"x-deadline-ms": f"{1e3 * deadline:.0f}"}
    return client.post("/diagnostics/shattering", params=options, content=CAT, headers=headers)


@pytest.mark.parametrize(
    ("fitting", "points"), [(16, 16), (24, 16), (35, 16), (36, 24), (50, 32), (95, 56), (96, 64), (10**9, 64)]
)
def test_two_thirds_of_what_fits_are_taken_in_steps_of_eight(fitting: int, points: int) -> None:
    assert chosen_points(fitting) == points


def test_a_fast_model_has_its_usual_points_and_nothing_is_said_of_them(server: LiveServer, graph: ServedGraph) -> None:
    with server.client() as client:
        answer = ask(client).json()
    assert answer["points"] == len(answer["correlation"]) == POINTS
    assert answer["points_note"] is None


def test_a_slow_model_takes_as_many_points_as_fit_and_says_so(server: LiveServer, slow: ServedGraph) -> None:
    images = server.state.ledger.images_run
    with server.client() as client:
        answer = ask(client, deadline=4, label="cat").json()
    points = answer["points"]
    assert LEAST_POINTS <= points <= chosen_points(2 + int(4 / SECONDS)) < POINTS
    assert points % STEP == 0
    assert points == len(answer["correlation"]) == len(answer["gradient_norm"]) == len(answer["probability"])
    assert server.state.ledger.images_run - images == points, "the ends are run once"
    assert answer["points_note"].startswith(f"The path has {points} points, not 64: the deadline was")
    assert f"with {points} points" in answer["verdict"]["because"]


def test_a_path_whose_ends_ran_first_is_the_same_path(server: LiveServer, graph: ServedGraph) -> None:
    with server.client() as client:
        at_once = ask(client, points=32, label="cat").json()
        graph.seconds_per_image = 600.0
        ends_first = ask(client, points=32, label="cat").json()
    for member in ("correlation", "gradient_norm", "probability", "spectral_exponent"):
        np.testing.assert_allclose(ends_first[member], at_once[member], rtol=1e-4, atol=1e-5)
    assert ends_first["verdict"]["state"] == at_once["verdict"]["state"]


def test_too_high_an_estimate_neither_refuses_nor_shortens(server: LiveServer, graph: ServedGraph) -> None:
    """Or no run would ever correct it."""
    graph.seconds_per_image = 600.0
    with server.client() as client:
        answer = ask(client, deadline=300)
    assert answer.status_code == 200
    assert answer.json()["points"] == POINTS


def test_a_number_that_does_not_fit_is_refused_with_one_that_does(server: LiveServer, slow: ServedGraph) -> None:
    images = server.state.ledger.images_run
    with server.client() as client:
        answer = ask(client, deadline=4, points=100, label="cat")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("too-busy")
    words = answer.json()["detail"]
    assert words.startswith("The deadline is too near for a path of 100 points: ")
    assert "X-Deadline-Ms, at most the setting deadline_ms (300000)" in words
    assert server.state.ledger.images_run - images == 2
    assert "retry-after" not in answer.headers, "waiting would not help"


def test_where_not_even_the_shortest_path_fits_the_answer_says_what_would_help(
    server: LiveServer, graph: ServedGraph
) -> None:
    assert graph.session is not None
    graph.session, graph.seconds_per_image = SlowSession(graph.session, 0.4), 0.4
    with server.client() as client:
        answer = ask(client, deadline=5.5, label="cat")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("The deadline is too near for even the shortest path of 16 points: ")


def test_every_idle_slot_counts() -> None:
    """The two ends of the path occupy two of eight slots, so that four times as many images fit as they suggest."""
    with running(ROOT / "models" / "bundles", default_model="resnet20", warm_up=False, run_threads=8) as server:
        served = server.state.registry.select("resnet20").graphs["input_gradient"]
        with server.client() as client:
            assert ask(client, points=LEAST_POINTS).status_code == 200, "its graph is loaded now"
            assert served.session is not None
            served.session, served.seconds_per_image = SlowSession(served.session, 0.4), 0.4
            wait_until(lambda: server.state.engine.images_at_a_time(served, 2) == 8)
            assert ask(client, deadline=12).json()["points"] == POINTS


def test_where_the_request_has_all_the_time_there_is_the_setting_is_named() -> None:
    with running(ROOT / "models" / "bundles", default_model="resnet20", warm_up=False, deadline_ms=3000) as server:
        served = server.state.registry.select("resnet20").graphs["input_gradient"]
        with server.client() as client:
            ask(client, points=LEAST_POINTS)
            assert served.session is not None
            served.session, served.seconds_per_image = SlowSession(served.session, SECONDS), SECONDS
            answer = ask(client, points=200, label="cat")
    assert answer.status_code == 503
    assert "A longer deadline helps: the setting deadline_ms, now 3000." in answer.json()["detail"]
