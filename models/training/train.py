"""The training loop, which resumes an interrupted run from its last checkpoint.

Every random choice is a function of (seed, epoch, step), so a resumed run takes the same steps as one that was
never interrupted. The weights of the last epoch are kept; nothing is chosen by the test images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from models.networks.network import Architecture, Network
from models.training.augmentation import augment, channel_statistics
from models.training.data import DataSet, Split
from models.training.recipe import Recipe

STEPS_BETWEEN_CHECKPOINTS = 50
PROBE_IMAGES = 128
"""Training images on which the gradient norms of an epoch's record are measured."""


@dataclass
class Progress:
    """State of a run: the next step to take, sums over the epoch so far, and the records of finished epochs."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    wrong: int = 0
    seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


class Training:
    """A run in its folder: `checkpoint.pt` until it is finished, then `weights.safetensors` and `training.json`."""

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        recipe: Recipe,
        data: DataSet,
        data_name: str,
        folder: Path,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.name, self.architecture, self.recipe, self.seed = name, architecture, recipe, seed
        self.data, self.data_name, self.folder, self.device = data, data_name, folder, device
        self.mean, self.std = channel_statistics(data.train.images)
        torch.manual_seed(seed)
        self.network = Network(architecture, classes=len(data.labels)).to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.progress = Progress()
        self.steps_per_epoch = len(data.train) // recipe.batch_size or 1

    def run(self) -> dict[str, Any]:
        """Train to the end, from the checkpoint if there is one, and return the training record.

        A finished run is not repeated.

        Raises:
            ValueError: the folder holds another run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        finished = self._finished()
        if finished is not None:
            return finished
        self._resume()
        while self.progress.epoch < self.recipe.epochs:
            self.train_epoch()
        record = self._record()
        weights = {key: value.detach().cpu().contiguous() for key, value in self.network.state_dict().items()}
        # The record comes last: a folder with `training.json` is a finished run.
        with _written_whole(self.folder / "weights.safetensors") as part:
            save_file(weights, part)
        with _written_whole(self._record_file) as part:
            part.write_text(json.dumps(record, indent=1))
        self._checkpoint_file.unlink(missing_ok=True)
        return record

    @property
    def _checkpoint_file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _identity(self) -> dict[str, Any]:
        return {
            "architecture": asdict(self.architecture),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "train_images": len(self.data.train),
            "labels": list(self.data.labels),
        }

    @property
    def _record_file(self) -> Path:
        return self.folder / "training.json"

    def _finished(self) -> dict[str, Any] | None:
        if not self._record_file.exists():
            return None
        record: dict[str, Any] = json.loads(self._record_file.read_text())
        self._check_identity(self._record_file, record)
        return record

    def _check_identity(self, file: Path, found: dict[str, Any]) -> None:
        if any(found.get(key, value) != value for key, value in self._identity().items()):
            raise ValueError(f"{file} belongs to a different run; choose another --out or remove it")

    def _resume(self) -> None:
        if not self._checkpoint_file.exists():
            return
        state = torch.load(self._checkpoint_file, map_location=self.device, weights_only=True)
        self._check_identity(self._checkpoint_file, state["identity"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])

    def _save_checkpoint(self) -> None:
        state = {
            "identity": self._identity(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        with _written_whole(self._checkpoint_file) as part:
            torch.save(state, part)

    def train_epoch(self) -> None:
        """Take the steps of one epoch that are not taken yet, and record it."""
        progress, recipe = self.progress, self.recipe
        self.network.train()
        order = torch.randperm(len(self.data.train), generator=_generator(self.seed, progress.epoch, 0))
        size = recipe.image_size_at(progress.epoch, self.data.train.images.shape[1])
        steps = range(progress.step, self.steps_per_epoch)
        title = f"{self.name} epoch {progress.epoch + 1}/{recipe.epochs}"
        bar = tqdm(steps, desc=title, initial=progress.step, total=self.steps_per_epoch, mininterval=1.0)
        for step in bar:
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size].numpy()
            self._train_step(rows, size, step)
            progress.step = step + 1
            bar.set_postfix(
                loss=f"{progress.loss_sum / progress.seen:.3g}", error=f"{progress.wrong / progress.seen:.3f}"
            )
            if progress.step % STEPS_BETWEEN_CHECKPOINTS == 0:
                self._save_checkpoint()
        self._finish_epoch(size)

    def _train_step(self, rows: NDArray[np.int64], size: int, step: int) -> None:
        progress, recipe = self.progress, self.recipe
        rate = recipe.learning_rate_at(
            (progress.epoch * self.steps_per_epoch + step) / (recipe.epochs * self.steps_per_epoch)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        generator = _generator(self.seed, progress.epoch, step + 1)
        images = augment(torch.from_numpy(self.data.train.images[rows]), recipe.crop_padding, generator)
        classes = torch.from_numpy(self.data.train.classes[rows]).to(self.device)
        batch = self._normalize(images, size)
        with torch.autocast(self.device, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = self.network(batch)
        loss = functional.cross_entropy(logits.float(), classes)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self.optimizer.step()
        progress.loss_sum += float(loss.detach()) * len(rows)
        progress.wrong += int((logits.detach().argmax(1) != classes).sum())
        progress.seen += len(rows)

    def _normalize(self, images: Tensor, size: int) -> Tensor:
        """Turn uint8 [n, h, w, 3] into normalised float32 [n, 3, size, size], channels last in memory."""
        batch = images.to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values).view(3, 1, 1).to(batch) for values in (self.mean, self.std))
        batch = (batch - mean) / std
        if batch.shape[-1] != size:
            batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
        return batch.contiguous(memory_format=torch.channels_last)

    def _finish_epoch(self, size: int) -> None:
        progress = self.progress
        test_loss, test_error = self.evaluate(self.data.test)
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "image_size": size,
                "train_loss": progress.loss_sum / progress.seen,
                "train_error": progress.wrong / progress.seen,
                "test_loss": test_loss,
                "test_error": test_error,
                "gradient_norms": self.layer_gradient_norms(),
            }
        )
        tqdm.write(
            f"{self.name} epoch {progress.epoch + 1}: train error {progress.wrong / progress.seen:.4f}, "
            f"test error {test_error:.4f}"
        )
        self.progress = Progress(epoch=progress.epoch + 1, history=progress.history)
        self._save_checkpoint()

    @torch.no_grad()
    def evaluate(self, split: Split, batch_size: int = 500) -> tuple[float, float]:
        """Return the mean cross-entropy and the error rate over a split, in float32 and without augmentation."""
        self.network.eval()
        loss, wrong = 0.0, 0
        for start in range(0, len(split), batch_size):
            images = torch.from_numpy(split.images[start : start + batch_size])
            classes = torch.from_numpy(split.classes[start : start + batch_size]).to(self.device)
            logits = self.network(self._normalize(images, images.shape[1]))
            loss += float(functional.cross_entropy(logits, classes, reduction="sum"))
            wrong += int((logits.argmax(1) != classes).sum())
        return loss / len(split), wrong / len(split)

    def layer_gradient_norms(self) -> dict[str, float]:
        """Return ‖dL/dW‖₂ by layer, of the mean loss over evenly spaced training images, in inference mode."""
        self.network.eval()
        rows = np.linspace(0, len(self.data.train) - 1, PROBE_IMAGES, dtype=np.int64)
        batch = self._normalize(torch.from_numpy(self.data.train.images[rows]), self.data.train.images.shape[1])
        loss = functional.cross_entropy(
            self.network(batch), torch.from_numpy(self.data.train.classes[rows]).to(self.device)
        )
        weights = {name: value for name, value in self.network.named_parameters() if value.ndim > 1}
        gradients = torch.autograd.grad(loss, list(weights.values()))
        norms = (float(gradient.norm()) for gradient in gradients)
        return {name.removesuffix(".weight"): norm for name, norm in zip(weights, norms, strict=True)}

    def _record(self) -> dict[str, Any]:
        train_loss, train_error = self.evaluate(self.data.train)
        test_loss, test_error = self.evaluate(self.data.test)
        return {
            "model": self.name,
            **self._identity(),
            "data_set": self.data_name,
            "image_size": int(self.data.train.images.shape[1]),
            "mean": list(self.mean),
            "std": list(self.std),
            "epochs": self.progress.history,
            "final": {
                "train_loss": train_loss,
                "train_error": train_error,
                "test_loss": test_loss,
                "test_error": test_error,
            },
        }


def _generator(*key: int) -> torch.Generator:
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator().manual_seed(seed)


@contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it to `path` at the end of the block."""
    part = path.with_name(path.name + ".part")
    yield part
    os.replace(part, path)
