"""The training loop, which resumes an interrupted run from its last checkpoint.

Every random choice is a function of (seed, epoch, step), so a resumed run takes the same steps as one that was
never interrupted. The weights of the last epoch are kept, or their average over the steps where the recipe averages;
nothing is chosen by the test images.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional
from tqdm import tqdm

from models.networks.network import Architecture, Network
from models.training.augmentation import normalize
from models.training.cuda_graph import EAGER_STEPS, Replayed
from models.training.data import DataSet, Split
from models.training.plan import plan_epoch, steps_per_epoch
from models.training.recipe import Recipe, completed
from models.training.step import Resident, Step

SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_BETWEEN_READINGS = 1.0
"""The sums over an epoch are read, for the progress bar, no more often: a GPU would have to wait for the reader."""
PROBE_IMAGES = 128
"""Training images on which the gradient norms of an epoch's record are measured."""
TIMING_FILE = "timing.json"
PACE_STEPS = 20
"""Steps over which the speed is measured that is printed first."""


@dataclass
class Progress:
    """State of a run: the next step to take, sums over the epoch so far, and the records of finished epochs.

    `seconds` holds how long the steps of each epoch took, and `seconds_so_far` those of the current one.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    wrong: int = 0
    seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    seconds_so_far: float = 0.0


class Training:
    """A run in its folder: `checkpoint.pt` until it is finished.

    Then `weights.safetensors`, `training.json`, and `timing.json`, which says what differs between equal runs: the
    device, and how long each epoch took.
    """

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
        held_out: Split | None = None,
        rate_on_device: bool = False,
    ) -> None:
        """Prepare a run; `held_out` are images that it measures at its end and is not trained on.

        `rate_on_device` is explained at `Step`; on every device but a CPU it is so.
        """
        self.name, self.architecture, self.recipe, self.seed = name, architecture, recipe, seed
        self.data, self.data_name, self.folder, self.held_out = data, data_name, folder, held_out
        self.device = torch.device(device)
        self.mean, self.std = data.train.statistics
        torch.manual_seed(seed)
        self.network = Network(architecture, classes=len(data.labels)).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            if self.device.index is not None:
                torch.cuda.set_device(self.device)  # the graph is captured on the current one
        self.step = Step(self.network, recipe, data, self.device, rate_on_device or self.device.type != "cpu")
        self._residents: dict[int, tuple[Split, Resident]] = {id(data.train): (data.train, self.step.train)}
        self._replayed: tuple[int, Callable[[], None]] | None = None
        self._saved = time.monotonic()
        self._pace_told = False
        self.progress = Progress()
        self.steps_per_epoch = steps_per_epoch(recipe, len(data.train))

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
        self._replayed = None  # frees the memory of the graph, before the next run of a process needs it
        record = self._record()
        weights = {key: value.detach().cpu().contiguous() for key, value in self.step.result.state_dict().items()}
        # The record comes last: a folder with `training.json` is a finished run.
        with _written_whole(self.folder / "weights.safetensors") as part:
            save_file(weights, part)
        with _written_whole(self.folder / TIMING_FILE) as part:
            part.write_text(json.dumps({"device": self.device_name, "seconds": self.progress.seconds}))
        with _written_whole(self._record_file) as part:
            part.write_text(json.dumps(record, indent=1))
        self._checkpoint_file.unlink(missing_ok=True)
        return record

    @property
    def device_name(self) -> str:
        """The card's name, or the device's kind where it has none."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    @property
    def _checkpoint_file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _identity(self) -> dict[str, Any]:
        return {
            "architecture": asdict(self.architecture),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "train_images": len(self.data.train),
            "held_out_images": len(self.held_out or ()),
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
        found = {"held_out_images": 0, **found, "recipe": completed(found.get("recipe", {}))}
        if any(found.get(key, value) != value for key, value in self._identity().items()):
            raise ValueError(f"{file} belongs to a different run; choose another --out or remove it")

    def _resume(self) -> None:
        if not self._checkpoint_file.exists():
            return
        state = torch.load(self._checkpoint_file, map_location=self.device, weights_only=True)
        self._check_identity(self._checkpoint_file, state["identity"])
        self.network.load_state_dict(state["network"])
        self.step.optimizer.load_state_dict(state["optimizer"])
        if self.step.average is not None:
            self.step.average.network.load_state_dict(state["average"])
        self.progress = Progress(**state["progress"])

    def _save_checkpoint(self) -> None:
        state = {
            "identity": self._identity(),
            "network": self.network.state_dict(),
            "optimizer": self.step.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        if self.step.average is not None:
            state["average"] = self.step.average.network.state_dict()
        with _written_whole(self._checkpoint_file) as part:
            torch.save(state, part)
        self._saved = time.monotonic()

    def _save_when_due(self) -> None:
        if time.monotonic() - self._saved >= SECONDS_BETWEEN_CHECKPOINTS:
            self._save_checkpoint()

    def train_epoch(self) -> None:
        """Take the steps of one epoch that are not taken yet, and record it."""
        progress, recipe = self.progress, self.recipe
        self.network.train()
        size = recipe.image_size_at(progress.epoch, self.data.train.images.shape[1])
        plan = plan_epoch(recipe, self.seed, progress.epoch, len(self.data.train))
        self.step.begin_epoch(plan, size, progress.step, progress.loss_sum, progress.wrong)
        batch = min(recipe.batch_size, len(self.data.train))
        title = f"{self.name} epoch {progress.epoch + 1}/{recipe.epochs}"
        steps = range(progress.step, self.steps_per_epoch)
        bar = tqdm(steps, desc=title, initial=progress.step, total=self.steps_per_epoch, mininterval=1.0)
        read = started = time.monotonic()
        before = progress.seconds_so_far
        pace = _Pace(self._wait) if not self._pace_told else None
        for step in bar:
            self._train_step(step, size)
            progress.step, progress.seen = step + 1, progress.seen + batch
            if pace is not None and pace.after_step():
                speed = f"{pace.steps_per_second * batch:,.0f} images/s of {size} pixels a side"
                tqdm.write(f"{self.name} on {self.device_name}: {speed}")
                pace, self._pace_told = None, True
            now = time.monotonic()
            if now - read >= SECONDS_BETWEEN_READINGS or now - self._saved >= SECONDS_BETWEEN_CHECKPOINTS:
                progress.loss_sum, progress.wrong = self.step.sums()
                read = time.monotonic()
                progress.seconds_so_far = before + read - started
                bar.set_postfix(
                    loss=f"{progress.loss_sum / progress.seen:.3g}", error=f"{progress.wrong / progress.seen:.3f}"
                )
                self._save_when_due()
        progress.loss_sum, progress.wrong = self.step.sums()
        progress.seconds_so_far = before + time.monotonic() - started
        self._finish_epoch(size)

    def _wait(self) -> None:
        """Let the device finish what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _train_step(self, step: int, size: int) -> None:
        """Take a step; on CUDA by a graph, of which there is one at a time, for one size of images."""
        progress = self.progress
        done = (progress.epoch * self.steps_per_epoch + step) / (self.recipe.epochs * self.steps_per_epoch)
        if self.device.type != "cuda":
            self.step.take(done)
            return
        if self._replayed is None or self._replayed[0] != size:
            self._replayed = None  # frees the memory of the graph before
            self._replayed = (size, Replayed(self.device, lambda: self.step.take(0.0), self.step.optimizer.zero_grad))
        self._replayed[1]()

    def _finish_epoch(self, size: int) -> None:
        progress = self.progress
        test_loss, test_error = self.evaluate(self.data.test)
        last = (progress.epoch + 1) * self.steps_per_epoch - 1
        progress.history.append(
            {
                "epoch": progress.epoch + 1,
                "learning_rate": self.recipe.learning_rate_at(last / (self.recipe.epochs * self.steps_per_epoch)),
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
            f"test error {test_error:.4f}, {progress.seen / max(progress.seconds_so_far, 1e-9):,.0f} images/s"
        )
        self.progress = Progress(
            epoch=progress.epoch + 1,
            history=progress.history,
            seconds=[*progress.seconds, progress.seconds_so_far],
        )
        self._save_when_due()

    def _resident(self, split: Split) -> Resident:
        if id(split) not in self._residents:
            self._residents[id(split)] = (split, Resident.of(split, self.device))
        return self._residents[id(split)][1]

    @torch.no_grad()
    def evaluate(self, split: Split, batch_size: int = 500) -> tuple[float, float]:
        """Return the mean cross-entropy and the error rate over a split, in float32 and without augmentation."""
        network, resident = self.step.result.eval(), self._resident(split)
        loss = torch.zeros_like(self.step.loss_sum)
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        with _whole_float32(self.device):
            for start in range(0, len(split), batch_size):
                images = resident.images[start : start + batch_size]
                classes = resident.classes[start : start + batch_size]
                logits = network(normalize(images, self.step.mean, self.step.std, images.shape[1]))
                loss += functional.cross_entropy(logits, classes, reduction="sum").to(loss.dtype)
                wrong += (logits.argmax(1) != classes).sum()
        return float(loss) / len(split), int(wrong) / len(split)

    def layer_gradient_norms(self) -> dict[str, float]:
        """Return ‖dL/dW‖₂ by layer, of the mean loss over evenly spaced training images, in inference mode."""
        self.network.eval()
        rows = torch.from_numpy(np.linspace(0, len(self.data.train) - 1, PROBE_IMAGES, dtype=np.int64)).to(self.device)
        images, classes = self.step.train.images[rows], self.step.train.classes[rows]
        with _whole_float32(self.device):
            logits = self.network(normalize(images, self.step.mean, self.step.std, images.shape[1]))
            weights = {name: value for name, value in self.network.named_parameters() if value.ndim > 1}
            gradients = torch.autograd.grad(functional.cross_entropy(logits, classes), list(weights.values()))
        norms = torch.stack([gradient.norm() for gradient in gradients]).tolist()
        return {name.removesuffix(".weight"): norm for name, norm in zip(weights, norms, strict=True)}

    def _record(self) -> dict[str, Any]:
        train_loss, train_error = self.evaluate(self.data.train)
        test_loss, test_error = self.evaluate(self.data.test)
        record = {
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
        if self.held_out is not None:
            held_out_loss, held_out_error = self.evaluate(self.held_out)
            record["held_out"] = {"loss": held_out_loss, "error": held_out_error}
        return record


class _Pace:
    """Measures steps per second over `PACE_STEPS` steps, once the first ones, which are slow, are over."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait, self._steps, self._started = wait, 0, 0.0
        self.steps_per_second = 0.0

    def after_step(self) -> bool:
        """Count a step, and tell whether the speed is known now."""
        self._steps += 1
        if self._steps == EAGER_STEPS + 2:  # the capture is over too
            self._wait()
            self._started = time.monotonic()
        if self._steps < EAGER_STEPS + 2 + PACE_STEPS:
            return False
        self._wait()
        self.steps_per_second = PACE_STEPS / (time.monotonic() - self._started)
        return True


@contextmanager
def _whole_float32(device: torch.device) -> Iterator[None]:
    """Compute without TensorFloat-32 in the block, which torch allows in convolutions: what is recorded is float32."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it to `path` at the end of the block."""
    part = path.with_name(path.name + ".part")
    yield part
    os.replace(part, path)
