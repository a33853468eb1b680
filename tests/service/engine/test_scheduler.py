"""The scheduler's order: background work last, one slot kept free of diagnostics, every core for a lone run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

import service.engine.scheduler
from service.bundles.served_model import ServedGraph, WideSpeed
from service.contract.bundle_schema import GraphName, InputSpec
from service.engine.scheduler import Scheduler
from service.engine.tickets import Batch, Ticket
from service.errors import QueueFull

SPEC = InputSpec(height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3)


def ticket(name: GraphName, *, background: bool = False) -> Ticket:
    graph = ServedGraph(f"net-{name}", name, SPEC)
    return Ticket(graph, np.zeros((1, 8, 8, 3), np.uint8), None, lambda *_: None, background=background)


class Slots:
    """Threads that wait for batches as run slots do, but run nothing."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._threads = ThreadPoolExecutor(scheduler.slots)

    def take(self) -> Future[Batch | None]:
        return self._threads.submit(self._scheduler.take)

    def end(self) -> None:
        self._scheduler.close()
        self._threads.shutdown()


@pytest.fixture(autouse=True)
def kept_free_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the slot free for longer than a busy machine takes for a test."""
    monkeypatch.setattr(service.engine.scheduler, "KEPT_FREE", 600.0)


@pytest.fixture
def one_slot() -> Scheduler:
    return Scheduler(slots=1, max_images=100)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(slots=2, max_images=100)


@pytest.fixture
def slots(scheduler: Scheduler) -> Iterator[Slots]:
    slots = Slots(scheduler)
    yield slots
    slots.end()


def taken(future: Future[Batch | None]) -> Ticket:
    batch = future.result(10)
    assert batch is not None
    return batch.tickets[0]


def submit(scheduler: Scheduler, one: Ticket) -> Ticket:
    scheduler.submit([one], None)
    scheduler.wake()
    return one


def predict_once(scheduler: Scheduler, slots: Slots) -> None:
    submit(scheduler, ticket("forward"))
    batch = slots.take().result(10)
    assert batch is not None
    scheduler.finish(batch)


def test_while_predictions_come_diagnoses_leave_one_slot_to_the_next(scheduler: Scheduler, slots: Slots) -> None:
    predict_once(scheduler, slots)
    first = submit(scheduler, ticket("weight_norms"))
    running = slots.take()
    assert taken(running) is first
    second = submit(scheduler, ticket("activation_norms"))
    kept = slots.take()
    time.sleep(0.05)
    assert not kept.done()
    prediction = submit(scheduler, ticket("forward"))
    assert taken(kept) is prediction
    batch = running.result()
    assert batch is not None
    scheduler.finish(batch)
    assert taken(slots.take()) is second


def test_a_kept_slot_is_given_up_once_the_other_is_free_again(scheduler: Scheduler, slots: Slots) -> None:
    predict_once(scheduler, slots)
    submit(scheduler, ticket("weight_norms"))
    running = slots.take()
    taken(running)
    second = submit(scheduler, ticket("activation_norms"))
    kept = slots.take()
    batch = running.result()
    assert batch is not None
    scheduler.finish(batch)  # its slot goes on to something else, and the kept one is told
    assert taken(kept) is second


def test_without_predictions_diagnoses_have_all_slots(scheduler: Scheduler, slots: Slots) -> None:
    asked = [submit(scheduler, ticket("weight_norms")), submit(scheduler, ticket("activation_norms"))]
    both = [slots.take(), slots.take()]
    assert {id(taken(one)) for one in both} == {id(one) for one in asked}


def test_one_slot_alone_runs_everything(one_slot: Scheduler) -> None:
    alone = Slots(one_slot)
    predict_once(one_slot, alone)
    diagnosis = submit(one_slot, ticket("weight_norms"))
    assert taken(alone.take()) is diagnosis
    alone.end()


def test_while_predictions_come_the_wait_for_a_diagnosis_is_reckoned_with_the_slots_it_may_have(
    scheduler: Scheduler, slots: Slots
) -> None:
    one = ticket("weight_norms")
    one.graph.seconds_per_image = 1000.0
    one.cost = 1000.0
    submit(scheduler, one)
    taken(slots.take())
    assert scheduler.expected_wait(diagnostic=True) == 0.0
    predict_once(scheduler, slots)
    assert scheduler.expected_wait(diagnostic=True) == pytest.approx(1000.0, abs=60.0)
    assert scheduler.expected_wait(diagnostic=False) == 0.0


def test_what_runs_in_the_background_comes_last_however_long_it_has_waited(one_slot: Scheduler) -> None:
    background = ticket("weight_norms", background=True)
    one_slot.submit([background], None)
    background.submitted -= 3600
    asked = [ticket("forward"), ticket("input_gradient"), ticket("forward")]
    for one in asked:
        one_slot.submit([one], None)
    order = []
    for _ in range(4):
        batch = one_slot.take()
        assert batch is not None
        order.append(batch.tickets[0])
        one_slot.finish(batch)
    assert order == [asked[0], asked[2], asked[1], background]


def test_what_runs_in_the_background_never_shares_a_run_with_a_request(one_slot: Scheduler) -> None:
    background = ticket("weight_norms", background=True)
    one_slot.submit([background], None)
    asked = Ticket(background.graph, np.zeros((1, 8, 8, 3), np.uint8), None, background.on_outcome)
    background.graph.best_batch = 8
    one_slot.submit([asked], None)
    batch = one_slot.take()
    assert batch is not None
    assert batch.tickets == [asked]


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_the_background_is_refused_while_anything_waits_or_every_slot_runs(one_slot: Scheduler, state: str) -> None:
    one_slot.submit([ticket("forward")], None)
    if state == "running":
        one_slot.take()
    assert not one_slot.idle
    with pytest.raises(QueueFull):
        one_slot.submit([ticket("weight_norms", background=True)], None)
    assert one_slot.waiting_images == (1 if state == "waiting" else 0)


def test_the_background_waits_for_the_run_that_has_every_core(scheduler: Scheduler, slots: Slots) -> None:
    submit(scheduler, wide_ticket())
    batch = batch_of(slots.take())
    assert batch.wide
    assert not scheduler.idle
    with pytest.raises(QueueFull):
        scheduler.submit([ticket("forward", background=True)], None)
    scheduler.finish(batch)
    assert scheduler.idle


def test_a_prediction_in_the_background_is_none_that_diagnoses_give_way_to(scheduler: Scheduler, slots: Slots) -> None:
    for _ in range(2):
        submit(scheduler, ticket("forward", background=True))
        scheduler.finish(batch_of(slots.take()))
    assert scheduler.idle_slots_for(True) == 2
    submit(scheduler, wide_ticket("weight_norms"))
    assert batch_of(slots.take()).wide


def test_what_waits_in_the_background_takes_no_room_and_no_time_from_a_request(one_slot: Scheduler) -> None:
    full = Scheduler(slots=1, max_images=1)
    background = ticket("forward", background=True)
    background.cost = 3600.0
    for scheduler in (full, one_slot):
        scheduler.submit([background], None)
        assert scheduler.expected_wait(diagnostic=False) == 0.0
        assert scheduler.idle_slots_for(False) == 1
        scheduler.submit([ticket("forward")], deadline=time.monotonic() + 60)
    with pytest.raises(QueueFull, match="1 images are waiting"):
        full.submit([ticket("forward")], None)


def test_a_slot_that_runs_in_the_background_counts_as_idle_when_images_are_shared_out(
    scheduler: Scheduler, slots: Slots
) -> None:
    submit(scheduler, ticket("forward", background=True))
    assert batch_of(slots.take()).background
    assert scheduler.idle_slots_for(False) == 2


def test_a_run_in_the_background_makes_no_request_late_and_is_in_the_way_if_it_is_slow(one_slot: Scheduler) -> None:
    asked, quick, slow = ticket("forward"), ticket("weight_norms", background=True), ticket("forward", background=True)
    quick.graph.seconds_per_image = 4 * asked.graph.seconds_per_image
    slow.graph.seconds_per_image = 3600.0
    found = []
    for background in (quick, slow):
        one_slot.submit([background], None)
        batch = one_slot.take()
        assert batch is not None
        assert one_slot.expected_wait(diagnostic=False) == 0.0
        one_slot.submit([asked], deadline=time.monotonic() + 60)
        found.append(one_slot.in_the_way_of(asked.graph))
        one_slot.forget(asked)
        one_slot.finish(batch)
    assert found == [[], [slow]]


def test_nothing_is_in_the_way_while_a_slot_is_free(scheduler: Scheduler, slots: Slots) -> None:
    slow = ticket("forward", background=True)
    slow.graph.seconds_per_image = 3600.0
    submit(scheduler, slow)
    batch_of(slots.take())
    assert scheduler.in_the_way_of(ticket("forward").graph) == []


def wide_ticket(name: GraphName = "forward", *, background: bool = False) -> Ticket:
    """Return a ticket of one image whose graph is faster on every core."""
    one = ticket(name, background=background)
    one.graph.wide = WideSpeed(threads=2, seconds=0.001)
    return one


def batch_of(future: Future[Batch | None]) -> Batch:
    batch = future.result(10)
    assert batch is not None
    return batch


@pytest.mark.parametrize("name", ["forward", "weight_norms"])
def test_what_is_alone_in_the_service_has_every_core(scheduler: Scheduler, slots: Slots, name: GraphName) -> None:
    submit(scheduler, wide_ticket(name))
    assert batch_of(slots.take()).wide


def test_what_comes_while_another_runs_has_one_core(scheduler: Scheduler, slots: Slots) -> None:
    submit(scheduler, wide_ticket())
    first = batch_of(slots.take())
    submit(scheduler, wide_ticket())
    second = batch_of(slots.take())
    scheduler.finish(first)
    submit(scheduler, wide_ticket())
    third = batch_of(slots.take())
    scheduler.finish(second)
    scheduler.finish(third)
    submit(scheduler, wide_ticket())
    assert [first.wide, second.wide, third.wide, batch_of(slots.take()).wide] == [True, False, False, True]


def test_what_waits_together_has_one_core_each(scheduler: Scheduler, slots: Slots) -> None:
    scheduler.submit([wide_ticket()], None)
    scheduler.submit([wide_ticket("feature_maps")], None)
    assert [batch_of(slots.take()).wide, batch_of(slots.take()).wide] == [False, False]


def test_a_graph_that_is_no_faster_on_every_core_has_one(scheduler: Scheduler, slots: Slots) -> None:
    submit(scheduler, ticket("forward"))
    assert not batch_of(slots.take()).wide


def test_work_in_the_background_has_one_core(scheduler: Scheduler, slots: Slots) -> None:
    submit(scheduler, wide_ticket("weight_norms", background=True))
    assert not batch_of(slots.take()).wide


@pytest.mark.parametrize(("predictions", "is_wide"), [(1, True), (2, False)])
def test_while_predictions_keep_coming_a_diagnosis_has_one_core(
    scheduler: Scheduler, slots: Slots, predictions: int, is_wide: bool
) -> None:
    for _ in range(predictions):
        predict_once(scheduler, slots)
    submit(scheduler, wide_ticket("weight_norms"))
    assert batch_of(slots.take()).wide == is_wide


def test_a_service_with_one_slot_has_no_cores_to_add(one_slot: Scheduler) -> None:
    alone = Slots(one_slot)
    submit(one_slot, wide_ticket())
    assert not batch_of(alone.take()).wide
    alone.end()


def test_the_speed_on_one_core_is_learnt_from_runs_that_have_one_to_themselves(
    scheduler: Scheduler, slots: Slots
) -> None:
    def take() -> Batch:
        submit(scheduler, wide_ticket())
        batch = batch_of(slots.take())
        batch.ran = 1
        return batch

    on_every_core = take()
    beside_it = take()
    scheduler.finish(on_every_core)
    on_its_own = take()
    assert [batch.tells_speed for batch in (on_every_core, beside_it, on_its_own)] == [False, False, True]


def test_idle_slots_are_those_that_a_request_of_its_kind_may_have(scheduler: Scheduler, slots: Slots) -> None:
    assert (scheduler.idle_slots_for(False), scheduler.idle_slots_for(True)) == (2, 2)
    predict_once(scheduler, slots)
    assert (scheduler.idle_slots_for(False), scheduler.idle_slots_for(True)) == (2, 1)
    submit(scheduler, ticket("weight_norms"))
    batch_of(slots.take())
    assert (scheduler.idle_slots_for(False), scheduler.idle_slots_for(True)) == (1, 0)
    submit(scheduler, ticket("activation_norms"))
    assert (scheduler.idle_slots_for(False), scheduler.idle_slots_for(True)) == (0, 0), "others wait"
