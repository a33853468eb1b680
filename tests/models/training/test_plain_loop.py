"""On a CPU the training loop gives the weights of the plainest loop: with SGD bit for bit, with Muon up to rounding.

The shipped networks without normalization were trained by the first, so this keeps them reproducible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from models.networks.network import Architecture, Network
from models.training.data import DataSet
from models.training.recipe import SGD, Recipe
from models.training.train import Training
from tests.models.small_data import data_set

RECIPES = (
    replace(SGD, epochs=2, batch_size=16, learning_rate=0.05, small_size=6, small_until=0.5, crop_padding=1, clip=1.0),
    replace(SGD, epochs=2, batch_size=7, learning_rate=0.05, small_until=0.0, nesterov=False, precision="float32"),
)
MUON = Recipe(
    epochs=3, batch_size=12, learning_rate=0.05, muon_learning_rate=0.01, small_size=6, crop_padding=1,
    precision="float32",
)  # fmt: skip


def generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))


def augmented(images: Tensor, padding: int, chosen: torch.Generator, mirrored: Sequence[bool] | None = None) -> Tensor:
    """Crop and mirror; where nothing says which images are mirrored, they are drawn."""
    padded = functional.pad(images, (0, 0, padding, padding, padding, padding))
    count, height, width, _ = images.shape
    top = torch.randint(0, 2 * padding + 1, (count, 1, 1), generator=chosen).flatten().tolist()
    left = torch.randint(0, 2 * padding + 1, (count, 1, 1), generator=chosen).flatten().tolist()
    mirrored = mirrored or (torch.rand((count, 1, 1), generator=chosen) < 0.5).flatten().tolist()
    crops = [padded[i, top[i] : top[i] + height, left[i] : left[i] + width] for i in range(count)]
    return torch.stack([crop.flip(1) if flip else crop for crop, flip in zip(crops, mirrored, strict=True)])


class Muon:
    """Steps the filters one after the other; each singular value goes by itself through Jordan et al.'s polynomial."""

    def __init__(self, filters: list[Tensor], recipe: Recipe) -> None:
        self.filters, self.recipe = filters, recipe
        self.momenta = [torch.zeros_like(one) for one in filters]

    @torch.no_grad()
    def step(self, progress: float) -> None:
        recipe = self.recipe
        for one, momentum in zip(self.filters, self.momenta, strict=True):
            assert one.grad is not None
            momentum.mul_(recipe.momentum).add_(one.grad)
            update = self.orthogonal((one.grad + recipe.momentum * momentum).flatten(1).double())
            one.mul_(1 - recipe.learning_rate_at(progress) * recipe.weight_decay)
            one.sub_(recipe.muon_learning_rate_at(progress) * update.float().view(one.shape))

    @staticmethod
    def orthogonal(matrix: Tensor) -> Tensor:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        values = values / values.norm()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        found: Tensor = scale * left @ torch.diag(values) @ right
        return found


def plainly_trained(architecture: Architecture, recipe: Recipe, data: DataSet, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = Network(architecture, len(data.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    filters = [one for one in network.parameters() if one.ndim == 4 and recipe.optimizer == "muon"]
    others = [one for one in network.parameters() if all(one is not each for each in filters)]
    optimizer = torch.optim.SGD(
        others, 1.0, recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
    )
    muon = Muon(filters, recipe)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    first_mirrored = torch.rand(len(data.train), generator=generator(seed, 0, 0, 1)) < 0.5
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in data.train.statistics)
    steps = len(data.train) // recipe.batch_size
    for at in range(recipe.epochs * steps):
        epoch, step = divmod(at, steps)
        order = torch.randperm(len(data.train), generator=generator(seed, epoch, 0)).numpy()
        rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(at / (recipe.epochs * steps))
        images = augmented(
            torch.from_numpy(data.train.images[rows]),
            recipe.crop_padding,
            generator(seed, epoch, step + 1),
            None if recipe.mirror == "random" else (first_mirrored[rows] ^ bool(epoch % 2)).tolist(),
        )
        batch = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        size = recipe.image_size_at(epoch, images.shape[1])
        if size != images.shape[1]:
            batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = network(batch.contiguous(memory_format=torch.channels_last))
        network.zero_grad()
        loss = functional.cross_entropy(logits.float(), torch.from_numpy(data.train.classes[rows]))
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
        muon.step(at / (recipe.epochs * steps))
        decay = min(recipe.averaging, (1 + at) / (10 + at))
        average = {name: decay * average[name] + (1 - decay) * now for name, now in network.state_dict().items()}
    return average if recipe.averaging else dict(network.state_dict())


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("architecture", [Architecture("residual", 8), Architecture("plain", 8, normalization="none")])
def test_the_weights_are_those_of_the_plainest_loop(tmp_path: Path, architecture: Architecture, recipe: Recipe) -> None:
    expected, found = trained_both_ways(tmp_path, architecture, recipe)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("architecture", [Architecture("residual", 8), Architecture("plain", 8, normalization="none")])
def test_the_default_ends_where_the_plainest_loop_does(tmp_path: Path, architecture: Architecture) -> None:
    """Orthogonalised one by one, filters are rounded in another way."""
    expected, found = trained_both_ways(tmp_path, architecture, MUON)
    for name, value in expected.items():
        if not name.endswith("num_batches_tracked"):  # the plain loop averages the counts too
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def trained_both_ways(
    folder: Path, architecture: Architecture, recipe: Recipe
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the plainest loop, and those of the product."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = data_set(per_class=12)
        expected = plainly_trained(architecture, recipe, data, seed=3)
        Training("net", architecture, recipe, data, "squares", folder, seed=3).run()
    finally:
        torch.set_num_threads(threads)
    found = load_file(folder / "weights.safetensors")
    assert all(value.isfinite().all() for value in found.values())
    return expected, found
