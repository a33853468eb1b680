"""How one request's images are shared out among idle slots, and which runs are best on every core."""

from __future__ import annotations

import pytest

from service.bundles.served_model import ServedGraph, WideSpeed
from service.contract.bundle_schema import GraphName, InputSpec
from service.contract.runtime.opening import Runtime
from service.engine.cutting import cut, runs_wide
from tests.service.contract.runtime.sessions import TWENTY_LAYERS

SLOW, FAST = 0.1, 0.0001


def graph(seconds: float = SLOW, most: int = 4, name: GraphName = "forward", threads: int | None = None) -> ServedGraph:
    served = ServedGraph("net@1", name, InputSpec(height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3))
    served.best_batch, served.seconds_per_image = most, seconds
    served.wide = None if threads is None else WideSpeed(threads, seconds / 2)
    return served


def sizes(served: ServedGraph, images: int, idle_slots: int, *, alone: bool = True) -> list[int]:
    parts = cut(served, images, idle_slots, alone=alone)
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]], "nothing is left out or doubled"
    return [len(range(*part.indices(images))) for part in parts]


@pytest.mark.parametrize(
    ("images", "idle_slots", "expected"),
    [
        (1, 2, [1]),
        (2, 2, [1, 1]),
        (3, 2, [2, 1]),
        (4, 2, [2, 2]),
        (8, 2, [4, 4]),
        (9, 2, [3, 2, 2, 2]),
        (5, 4, [2, 1, 1, 1]),
        (3, 8, [1, 1, 1]),
    ],
)
def test_idle_slots_get_equal_shares(images: int, idle_slots: int, expected: list[int]) -> None:
    assert sizes(graph(), images, idle_slots) == expected


@pytest.mark.parametrize("idle_slots", [0, 1])
def test_where_no_second_slot_is_idle_every_run_is_full(idle_slots: int) -> None:
    assert sizes(graph(), 9, idle_slots) == [4, 4, 1]


def test_what_takes_less_time_than_waking_a_slot_is_not_shared() -> None:
    assert sizes(graph(FAST), 4, 2) == [4]
    assert sizes(graph(FAST, most=32), 32, 2) == [16, 16]


def test_a_graph_in_which_samples_mix_is_never_cut() -> None:
    assert sizes(graph(name="batch_norms"), 9, 2) == [9]


def test_a_few_images_go_to_several_cores_at_once_where_that_is_faster() -> None:
    wide = graph(threads=4)
    assert sizes(wide, 2, 4) == [2]
    assert sizes(wide, 2, 4, alone=False) == [1, 1], "beside others a run has one core"
    assert sizes(wide, 3, 4) == [1, 1, 1], "more than half the cores: one each leaves next to nothing idle"
    assert [runs_wide(wide, images) for images in (1, 2, 3)] == [True, True, False]
    assert [runs_wide(graph(), images) for images in (1, 2, 3)] == [False] * 3, "it was not faster there"
    assert runs_wide(graph(name="batch_norms", threads=4), 9)


def test_on_a_device_every_run_is_full() -> None:
    served = graph()
    served.session = Runtime("cpu").open(TWENTY_LAYERS / "forward.onnx")
    served.session.provider = "CUDAExecutionProvider"
    assert sizes(served, 9, 2) == [4, 4, 1]
