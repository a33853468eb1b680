"""On a CPU the training loop gives bit for bit the weights of the plainest loop with torch's own optimizer.

The shipped networks were trained by such a loop, so this keeps them reproducible.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from models.networks.network import Architecture, Network
from models.training.data import DataSet
from models.training.recipe import Recipe
from models.training.train import Training
from tests.models.small_data import data_set

RECIPES = (
    Recipe(epochs=2, batch_size=16, learning_rate=0.05, small_size=6, small_until=0.5, crop_padding=1, clip=1.0),
    Recipe(epochs=2, batch_size=7, learning_rate=0.05, small_until=0.0, nesterov=False, precision="float32"),
)


def generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))


def augmented(images: Tensor, padding: int, chosen: torch.Generator) -> Tensor:
    padded = functional.pad(images, (0, 0, padding, padding, padding, padding))
    count, height, width, _ = images.shape
    top = torch.randint(0, 2 * padding + 1, (count, 1, 1), generator=chosen).flatten().tolist()
    left = torch.randint(0, 2 * padding + 1, (count, 1, 1), generator=chosen).flatten().tolist()
    mirrored = (torch.rand((count, 1, 1), generator=chosen) < 0.5).flatten().tolist()
    crops = [padded[i, top[i] : top[i] + height, left[i] : left[i] + width] for i in range(count)]
    return torch.stack([crop.flip(1) if flip else crop for crop, flip in zip(crops, mirrored, strict=True)])


def plainly_trained(architecture: Architecture, recipe: Recipe, data: DataSet, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = Network(architecture, len(data.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), 1.0, recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
    )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in data.train.statistics)
    steps = len(data.train) // recipe.batch_size
    for at in range(recipe.epochs * steps):
        epoch, step = divmod(at, steps)
        order = torch.randperm(len(data.train), generator=generator(seed, epoch, 0)).numpy()
        rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(at / (recipe.epochs * steps))
        images = augmented(
            torch.from_numpy(data.train.images[rows]), recipe.crop_padding, generator(seed, epoch, step + 1)
        )
        batch = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
        size = recipe.image_size_at(epoch, images.shape[1])
        if size != images.shape[1]:
            batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = network(batch.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss = functional.cross_entropy(logits.float(), torch.from_numpy(data.train.classes[rows]))
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
    return dict(network.state_dict())


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("architecture", [Architecture("residual", 8), Architecture("plain", 8, normalization="none")])
def test_the_weights_are_those_of_the_plainest_loop(tmp_path: Path, architecture: Architecture, recipe: Recipe) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        data = data_set(per_class=12)
        expected = plainly_trained(architecture, recipe, data, seed=3)
        Training("net", architecture, recipe, data, "squares", tmp_path, seed=3).run()
    finally:
        torch.set_num_threads(threads)
    found = load_file(tmp_path / "weights.safetensors")
    assert all(value.isfinite().all() for value in found.values())
    assert all(torch.equal(found[name], value) for name, value in expected.items())
