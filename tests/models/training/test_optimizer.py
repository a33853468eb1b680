"""The optimizer's groups, its steps beside torch's own, and Muon's orthogonalisation."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.networks.network import Architecture, Network
from models.training.averaging import Average
from models.training.optimizer import Momentum, optimizer_of, orthogonalized
from models.training.recipe import SGD, Recipe


def network(**changes: str) -> Network:
    torch.manual_seed(0)
    made = Network(Architecture("residual", 8, **changes), classes=3)  # type: ignore[arg-type]
    return made.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def backward(net: nn.Module, seed: int) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    net.zero_grad()
    net(images).square().sum().backward()


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 5e-4])
def test_a_step_is_that_of_torchs_own_descent_bit_for_bit(nesterov: bool, weight_decay: float) -> None:
    recipe = replace(SGD, nesterov=nesterov, weight_decay=weight_decay)
    mine, its = network(), network()
    optimizer = optimizer_of(mine, recipe)
    reference = torch.optim.SGD(its.parameters(), 1e-3, 0.9, nesterov=nesterov, weight_decay=weight_decay)
    for step in range(4):
        for net in (mine, its):
            backward(net, step)
        reference.param_groups[0]["lr"] = rate = 1e-3 * (step + 1)
        optimizer.step_at(rate, 0.0)
        reference.step()
    pairs = zip(mine.parameters(), its.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_checkpoint_of_torchs_own_descent_can_be_gone_on_from() -> None:
    mine, its = network(), network()
    reference = torch.optim.SGD(its.parameters(), 1e-3, 0.9, nesterov=True, weight_decay=5e-4)
    backward(its, 0)
    reference.step()
    mine.load_state_dict(its.state_dict())
    optimizer = optimizer_of(mine, SGD)
    optimizer.load_state_dict(copy.deepcopy(reference.state_dict()))
    for net in (mine, its):
        backward(net, 1)
    optimizer.step_at(1e-3, 0.0)
    reference.step()
    assert all(torch.equal(one, other) for one, other in zip(mine.parameters(), its.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_rate_on_the_device_gives_the_same_step(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer)
    number, tensor = network(), network()
    for net, one in ((number, 1e-2), (tensor, torch.tensor(1e-2))):
        backward(net, 0)
        optimizer_of(net, recipe).step_at(one, one)
    for one, other in zip(number.parameters(), tensor.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def grouped(recipe: Recipe) -> list[tuple[set[int], bool, float]]:
    """Return each group's numbers of dimensions, whether Muon trains it, and its weight decay."""
    groups = optimizer_of(network(), recipe).param_groups
    return [({p.ndim for p in group["params"]}, group["muon"], group["weight_decay"]) for group in groups]


def test_the_groups_are_those_that_the_recipe_asks_for() -> None:
    assert grouped(SGD) == [({1, 2, 4}, False, 5e-4)]
    assert grouped(replace(SGD, decay_norms_and_biases=False)) == [({2, 4}, False, 5e-4), ({1}, False, 0.0)]
    assert grouped(Recipe(optimizer="muon")) == [({4}, True, 5e-4), ({1, 2}, False, 5e-4)]
    without = Recipe(optimizer="muon", decay_norms_and_biases=False)
    assert grouped(without) == [({4}, True, 5e-4), ({1}, False, 0.0), ({2}, False, 5e-4)]


@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (16, 16, 3, 3), (64, 2, 3, 3)])
def test_orthogonalised_filters_keep_their_directions_and_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    filters = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
    found = orthogonalized([filters, filters.flip(0)])
    matrix, made = filters.view(shape[0], -1), found[0].reshape(shape[0], -1)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
    values = torch.linalg.svdvals(made) / scale
    assert values.min() > 0.6
    assert values.max() < 1.25
    inner = left.mT @ made @ right.mT  # diagonal where the singular vectors are the same
    torch.testing.assert_close(inner, torch.diag(inner.diagonal()), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1], found[0].flip(0), atol=1e-4, rtol=0)


def test_muon_goes_against_the_gradient_by_its_own_rate() -> None:
    filters = nn.Parameter(torch.randn(4, 2, 3, 3))
    before: Tensor = filters.detach().clone()
    filters.grad = torch.randn_like(filters)
    recipe = Recipe(nesterov=False)
    Momentum([{"params": [filters], "muon": True, "weight_decay": 0.5}], recipe).step_at(0.1, 0.01)
    expected = before * (1 - 0.1 * 0.5) - 0.01 * orthogonalized([filters.grad])[0]
    torch.testing.assert_close(filters.detach(), expected)


def test_an_average_is_the_one_of_the_formula() -> None:
    net = network()
    average = Average(net)
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    for step, share in enumerate((0.9, 0.5, 0.1)):
        backward(net, step)  # moves the statistics of BatchNorm
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(1)
        average.update(torch.tensor(share))
        for name, value in net.state_dict().items():
            expected[name] = expected[name] * (1 - share) + value * share if value.is_floating_point() else value
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert int(average.network.stem_norm.num_batches_tracked) == 3  # type: ignore[arg-type]


def test_the_average_forgets_the_first_weights_soon() -> None:
    recipe = Recipe(averaging=0.99)
    shares = [recipe.averaging_share_at(step) for step in (0, 1, 90, 10_000)]
    assert shares == pytest.approx([0.9, 9 / 11, 0.09, 0.01])
