"""The queueing model behind docs/reports/scaling.md: against a simulation, and against cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from bench.scaling.queueing import RunTime, expected, highest_load, plan, simulate

BATCHES = RunTime(setup=0.002, per_image=0.001, largest=16)


def test_without_batching_the_mean_wait_is_that_of_pollaczek_and_khinchine() -> None:
    run = RunTime(setup=0.0, per_image=0.01, largest=1)
    for load in (0.2, 0.5, 0.9):
        rate = load / 0.01
        wait = rate * 0.01**2 / (2 * (1 - load))
        assert expected(rate, run).latency == pytest.approx(wait + 0.01, rel=1e-6)
        assert expected(rate, run).utilization == pytest.approx(load, rel=1e-6)


def test_an_image_that_finds_nobody_waits_for_nobody() -> None:
    outcome = expected(0.001, BATCHES)
    assert outcome.latency == pytest.approx(BATCHES.seconds(1), rel=1e-4)
    assert outcome.batch == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("load", [0.1, 0.4, 0.7, 0.9])
def test_the_model_agrees_with_the_simulation(load: float) -> None:
    rate = load * BATCHES.capacity
    simulated = np.array([simulate(rate, BATCHES, images=20_000, seed=seed).mean() for seed in range(8)])
    error = simulated.std(ddof=1) / np.sqrt(len(simulated))
    difference = abs(expected(rate, BATCHES).latency - simulated.mean())
    assert difference < max(4 * error, 0.01 * simulated.mean())


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9, 0.95])
def test_the_model_approaches_the_published_bound_for_unlimited_batches(load: float) -> None:
    """Inoue, Queueing analysis of GPU-based inference servers with dynamic batching (arXiv 1912.06322): φ1."""
    run = RunTime(setup=0.002, per_image=0.001, largest=256)
    bound = 1.5 * run.setup / (1 - load) + run.per_image / 2 * (load + 2) / (1 - load**2)
    latency = expected(load / run.per_image, run).latency
    assert latency <= bound
    assert load < 0.7 or latency >= 0.99 * bound


def test_two_slots_that_share_a_queue_beat_two_that_do_not() -> None:
    rate = 1.2 * BATCHES.capacity
    shared = simulate(rate, BATCHES, slots=2, images=30_000).mean()
    apart = simulate(rate, BATCHES, replicas=2, images=30_000).mean()
    assert shared < apart
    assert apart == pytest.approx(expected(rate / 2, BATCHES).latency, rel=0.05)


def test_an_even_spread_over_replicas_waits_less_than_a_random_one() -> None:
    rate = 3 * BATCHES.capacity
    random, even = (
        simulate(rate, BATCHES, replicas=4, dispatch=dispatch, images=40_000).mean()
        for dispatch in ("random", "round robin")
    )
    assert even < random


def test_more_than_can_be_served_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"888\.9 can be served"):
        expected(900, BATCHES)


def test_the_highest_load_meets_the_deadline_and_one_above_it_does_not() -> None:
    deadline = 0.03
    load = highest_load(BATCHES, slots=2, deadline=deadline)
    capacity = 2 * BATCHES.capacity
    assert 0.3 < load < 1
    assert np.quantile(simulate(load * capacity, BATCHES, slots=2, images=40_000), 0.99) <= deadline
    assert np.quantile(simulate(min(0.999, load + 0.05) * capacity, BATCHES, slots=2, images=40_000), 0.99) > deadline
    assert highest_load(BATCHES, slots=2, deadline=0.001) == 0.0


@pytest.mark.parametrize(
    ("rate", "zones", "replicas"),
    [(500, 3, 2), (1_000, 3, 3), (4_000, 3, 12), (4_000, 2, 16), (10_000, 3, 30)],
)
def test_a_plan_survives_the_loss_of_its_largest_zone(rate: float, zones: int, replicas: int) -> None:
    chosen = plan(rate, capacity=1_000, load=0.5, zones=zones)
    assert chosen.replicas == replicas
    assert chosen.load_then <= 0.5
    fewer = replicas - 1
    assert (fewer - -(-fewer // zones)) * 1_000 * 0.5 < rate
