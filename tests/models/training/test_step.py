"""A step neither reads a number from the device nor sends one, so that it can be captured in a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.networks.network import Architecture, Network
from models.training.plan import plan_epoch
from models.training.recipe import SGD, Recipe
from models.training.step import Step
from tests.models.small_data import data_set

CROSSING = {"_local_scalar_dense", "item", "is_nonzero", "lift_fresh", "lift_fresh_copy", "nonzero", "masked_select"}
"""Operators of torch by which a number goes from the device to the host or back."""

BASE = replace(SGD, epochs=2, batch_size=6, crop_padding=1, small_size=6, learning_rate=0.01)
RECIPES = {
    "base": BASE,
    "default": Recipe(epochs=2, batch_size=6, crop_padding=1, small_size=6),
    "float32": replace(BASE, precision="float32"),
    "clip": replace(BASE, clip=1.0),
    "smoothing": replace(BASE, label_smoothing=0.1),
    "averaging": replace(BASE, averaging=0.99),
    "no decay": replace(BASE, decay_norms_and_biases=False),
    "muon": replace(BASE, optimizer="muon"),
    "alternate": replace(BASE, mirror="alternate"),
}


class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the names of the operators that run in its block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Iterable[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.add(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


def prepared(recipe: Recipe, size: int = 8, rate_on_device: bool = True) -> Step:
    torch.manual_seed(0)
    data = data_set()
    network = Network(Architecture("residual", 8), 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = Step(network.train(), recipe, data, torch.device("cpu"), rate_on_device)
    step.begin_epoch(plan_epoch(recipe, 0, 0, len(data.train)), size, 0, 0.0, 0)
    return step


@pytest.mark.parametrize("size", [6, 8])
@pytest.mark.parametrize("name", RECIPES)
def test_no_number_crosses_between_host_and_device_within_a_step(name: str, size: int) -> None:
    step = prepared(RECIPES[name], size)
    step.take(0.0)
    with Watched() as watched:
        step.take(0.0)
    assert "convolution_backward" in watched.seen, "the watch sees the backward pass too"
    assert watched.seen.isdisjoint(CROSSING)
    with Watched() as watched:
        step.sums()
    assert watched.seen & CROSSING, "the watch sees a number that is read"


def test_a_step_goes_on_by_itself_and_counts_what_it_saw() -> None:
    step = prepared(BASE)
    addresses = [value.data_ptr() for value in step.network.state_dict().values()]
    for _ in range(4):
        step.take(0.0)
    loss, wrong = step.sums()
    assert loss > 0
    assert 0 <= wrong <= 24
    step.begin_epoch(plan_epoch(BASE, 0, 1, 24), 8, 2, loss, wrong)
    step.take(0.0)
    assert step.sums()[0] > loss, "a resumed epoch goes on with the sums until there"
    assert addresses == [value.data_ptr() for value in step.network.state_dict().values()], "a graph knows addresses"


def test_the_plans_rate_is_the_recipes() -> None:
    """At the same learning rate, once as a number and once from the plan, the first step is the same."""
    steps = [prepared(replace(BASE, precision="float32"), rate_on_device=on_device) for on_device in (False, True)]
    for step in steps:
        step.take(0.0)
    for one, other in zip(*(step.network.parameters() for step in steps), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
