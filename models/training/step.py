"""One training step, written so that the host neither reads nor sends a number while it runs.

The whole data set, the epoch's plan, the number of the step and the sums over the epoch are tensors on the device. So
steps queue up on a GPU, and one step can be captured in a CUDA graph and replayed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.network import Network
from models.training.augmentation import normalize, see
from models.training.averaging import Average
from models.training.data import DataSet, Split
from models.training.optimizer import optimizer_of
from models.training.plan import Plan
from models.training.recipe import Recipe


@dataclass(frozen=True)
class Resident:
    """A split on a device: images uint8 [n, h, w, 3] and class numbers int64 [n]."""

    images: Tensor
    classes: Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device) -> Resident:
        """Send a split to a device; on a CPU, its memory is shared."""
        return cls(torch.from_numpy(split.images).to(device), torch.from_numpy(split.classes).to(device))


class Step:
    """Holds everything that a step reads and writes, on one device.

    `rate_on_device` makes the optimizer read its learning rate from the plan. Otherwise it gets a number, and a step on
    a CPU gives bit for bit what `torch.optim.SGD` gives.
    """

    def __init__(
        self, network: Network, recipe: Recipe, data: DataSet, device: torch.device, rate_on_device: bool
    ) -> None:
        self.network, self.recipe, self.device, self.rate_on_device = network, recipe, device, rate_on_device
        self.train = Resident.of(data.train, device)
        mean, std = data.train.statistics
        self.mean, self.std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))
        self.optimizer = optimizer_of(network, recipe)
        self.average = Average(network) if recipe.averaging else None
        self.size = data.train.images.shape[1]
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        precise = torch.float32 if device.type == "mps" else torch.float64
        self.loss_sum = torch.zeros((), dtype=precise, device=device)
        self._wrong = torch.zeros((), dtype=torch.int64, device=device)
        self._plan: Plan | None = None

    def begin_epoch(self, plan: Plan, size: int, step: int, loss_sum: float, wrong: int) -> None:
        """Set the plan and the side of the images, in pixels, and go on from `step` with the sums until there."""
        if self._plan is None:
            self._plan = plan.to(self.device)
        else:
            self._plan.replace_by(plan)
        self.size = size
        self._position.fill_(step)
        self.loss_sum.fill_(loss_sum)
        self._wrong.fill_(wrong)

    def sums(self) -> tuple[float, int]:
        """Wait for the device, and return the sum of the losses and the number of wrong answers of the epoch so far."""
        return float(self.loss_sum), int(self._wrong)

    def take(self, progress: float) -> None:
        """Take the next step of the plan; `progress`, the share of all steps before it, gives the rate as a number."""
        assert self._plan is not None
        rows, views = self._plan.rows(self._position)
        classes = self.train.classes[rows]
        seen = see(self.train.images[rows], self.recipe.crop_padding, views)
        batch = normalize(seen, self.mean, self.std, self.size)
        # Without the cache: within a CUDA graph, a cached bfloat16 copy would be that of an earlier step's weights.
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16", cache_enabled=False
        ):
            logits = self.network(batch)
        loss = functional.cross_entropy(logits.float(), classes, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self._update(progress)
        self._count(logits.detach(), loss.detach(), classes)

    def _update(self, progress: float) -> None:
        """Step the optimizer and the average."""
        assert self._plan is not None
        at, recipe = self._position, self.recipe
        if self.rate_on_device:
            rates = (self._plan.rates, self._plan.muon_rates)
            self.optimizer.step_at(*(values.index_select(0, at).squeeze(0) for values in rates))
        else:
            self.optimizer.step_at(recipe.learning_rate_at(progress), recipe.muon_learning_rate_at(progress))
        if self.average is not None:
            self.average.update(self._plan.averaging.index_select(0, at).squeeze(0))

    def _count(self, logits: Tensor, loss: Tensor, classes: Tensor) -> None:
        """Add to the sums, and go to the next step; the loss that is recorded is without label smoothing."""
        if self.recipe.label_smoothing:
            loss = functional.cross_entropy(logits.float(), classes)
        self.loss_sum += loss.to(self.loss_sum.dtype) * len(classes)
        self._wrong += (logits.argmax(1) != classes).sum()
        self._position += 1

    @property
    def result(self) -> Network:
        """The network that is evaluated and kept: the average where there is one."""
        return self.network if self.average is None else self.average.network
