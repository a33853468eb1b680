"""How one request's images are shared out among idle slots, and which runs are best on every core."""

from __future__ import annotations

import pytest

from service.bundles.served_model import ServedGraph
from service.contract.bundle_schema import GraphName, InputSpec
from service.contract.runtime.opening import Runtime
from service.engine.cutting import cut, runs_wide
from tests.service.contract.runtime.sessions import TWENTY_LAYERS

SLOW, FAST = 0.1, 0.0001


def graph(
    seconds: float = SLOW, most: int = 4, name: GraphName = "forward", lone_seconds: float | None = None
) -> ServedGraph:
    served = ServedGraph("net@1", name, InputSpec(height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3))
    served.best_batch, served.seconds_per_image, served.lone_seconds = most, seconds, lone_seconds
    return served


def sizes(served: ServedGraph, images: int, idle_slots: int) -> list[int]:
    parts = cut(served, images, idle_slots)
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


def test_a_few_images_go_to_every_core_at_once_where_that_is_faster() -> None:
    wide = graph(lone_seconds=0.02)
    assert sizes(wide, 2, 4) == [2]
    assert sizes(wide, 3, 4) == [1, 1, 1], "more than half the cores: one each leaves next to nothing idle"
    assert [runs_wide(wide, images, 4) for images in (1, 2, 3)] == [True, True, False]
    assert [runs_wide(graph(), images, 4) for images in (1, 2, 3)] == [False] * 3, "it was not faster there"
    assert not runs_wide(wide, 1, 1)
    assert runs_wide(graph(name="batch_norms", lone_seconds=0.02), 9, 2)


def test_on_a_device_every_run_is_full() -> None:
    served = graph()
    served.session = Runtime("cpu").open(TWENTY_LAYERS / "forward.onnx")
    served.session.provider = "CUDAExecutionProvider"
    assert sizes(served, 9, 2) == [4, 4, 1]
