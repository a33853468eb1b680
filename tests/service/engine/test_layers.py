"""Runs that end at a layer: who shares one, and how long it is expected to take."""

from __future__ import annotations

import numpy as np
import pytest

from service.bundles.served_model import LayerTimes, ServedGraph
from service.contract.bundle_schema import THE_IMAGE, InputSpec
from service.engine.scheduler import Scheduler
from service.engine.tickets import Batch, Ticket
from service.errors import TooBusy

SPEC = InputSpec(height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3)
WHOLE, FORWARD = 0.3, 0.1
"""Seconds per image of the whole graph, and of the forward graph."""


@pytest.fixture
def graph() -> ServedGraph:
    """A graph over layers of the depths 1, 2, 3 and 4; no run was timed yet."""
    forward, graph = ServedGraph("net@1", "forward", SPEC), ServedGraph("net@1", "explanation", SPEC)
    forward.seconds_per_image, graph.seconds_per_image, graph.best_batch = FORWARD, WHOLE, 8
    graph.layer_times = LayerTimes(forward, (1, 2, 3, 4))
    return graph


def ticket(graph: ServedGraph, layer: int | None) -> Ticket:
    return Ticket(graph, np.zeros((1, 8, 8, 3), np.uint8), None, lambda *_: None, layer=layer)


def test_requests_for_one_layer_share_a_run_and_those_for_different_layers_do_not(graph: ServedGraph) -> None:
    scheduler = Scheduler(slots=1, max_images=100)
    for layer in (3, 0, 3, THE_IMAGE, 3, 0):
        scheduler.submit([ticket(graph, layer)], None)
    scheduler.close()
    batches: list[Batch] = []
    while (batch := scheduler.take()) is not None:
        batches.append(batch)
        scheduler.finish(batch)
    assert {(batch.layer, batch.count) for batch in batches} == {(3, 3), (0, 2), (THE_IMAGE, 1)}
    assert all(one.layer == batch.layer for batch in batches for one in batch.tickets)


def test_before_it_was_timed_a_layer_is_between_the_forward_pass_and_the_whole_graph(graph: ServedGraph) -> None:
    seconds = [graph.seconds_at(layer) for layer in range(4)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] == pytest.approx(FORWARD), "the last layer needs hardly any of the backward pass"
    assert seconds[0] == pytest.approx(FORWARD + 0.75 * (WHOLE - FORWARD))
    assert graph.seconds_at(THE_IMAGE) == graph.seconds_at(None) == WHOLE


def test_what_is_learnt_of_one_layer_leaves_the_others_alone(graph: ServedGraph) -> None:
    others = [graph.seconds_at(layer) for layer in (0, 1, 2, THE_IMAGE)]
    for _ in range(200):
        graph.learn(8, 8 * 0.05, 3)
    assert graph.seconds_at(3) == pytest.approx(0.05, rel=0.01)
    assert [graph.seconds_at(layer) for layer in (0, 1, 2, THE_IMAGE)] == others


def test_a_lean_layer_is_not_refused_for_the_slowness_of_the_whole(graph: ServedGraph) -> None:
    scheduler = Scheduler(slots=1, max_images=100)
    scheduler.submit([ticket(graph, 3)], None)
    batch = scheduler.take()
    assert batch is not None
    deadline = batch.expected_end + 0.5 * FORWARD + 1.5 * FORWARD
    scheduler.submit([ticket(graph, 3)], deadline)
    with pytest.raises(TooBusy):
        scheduler.submit([ticket(graph, THE_IMAGE)], deadline)


def test_graphs_that_take_no_layer_are_as_before() -> None:
    graph = ServedGraph("net@1", "forward", SPEC)
    graph.seconds_per_image = 0.2
    graph.learn(8, 8 * 0.1)
    assert graph.seconds_at(None) == graph.seconds_per_image == pytest.approx(0.18)
