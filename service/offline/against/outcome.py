"""What is found where a new version of a model is checked against an old one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema, Number
from service.diagnostics.schemas.gradients import LayerDifference
from service.diagnostics.schemas.verdict import Verdict
from service.diagnostics.schemas.versions import CalibrationFound, Difference, FlipsFound, Share
from service.offline.outcome import HEALTHY, NOT_HEALTHY, LookedAt


class CheckedVersion(DiagnosticSchema):
    """One of the two versions."""

    path: str = Field(description="as it was named")
    model: str
    version: str
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    labels: int = Field(description="labels that it has")
    parameters: int | None = Field(
        description="numbers in the weights of its layers and in its other trained tensors, without the layers' biases"
    )
    bytes_on_disk: int | None = Field(description="of all files of its bundle; null of a version that is served")
    verdict: Verdict | None = Field(description="by its gradients on a sample of the images; null where it has none")
    no_verdict: str | None = Field(default=None, description="why there is no verdict")
    notes: list[str] = Field(default=[], description="what a reader must know of its answers, in sentences")

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return f"{self.model}@{self.version}"

    @property
    def findings(self) -> list[str]:
        """States that were found of its gradients."""
        return [] if self.verdict is None else [one.finding for one in self.verdict.findings]


class ImagesCompared(DiagnosticSchema):
    """The images of the folder, and what each of them could be used for."""

    folder: str
    images: int = Field(description="files in the table")
    undecodable: int = Field(description="files that could not be decoded; they count nowhere")
    unlabelled: int = Field(description="images whose folder is called like no label of either version")
    label_of_old_alone: int = Field(description="images whose label only the old version has; no flips are counted")
    label_of_new_alone: int = Field(description="images whose label only the new version has; no flips are counted")
    of_new_alone_right: int = Field(description="of the latter, those that the new version is right about")


class Mean(DiagnosticSchema):
    """The mean loss of the labelled images."""

    before: Number = Field(description="in nats")
    now: Number = Field(description="in nats")


class LabelFlips(DiagnosticSchema):
    """Flips of the images of one label."""

    label: str
    images: int
    accuracy_before: Number = Field(description="share of right answers, 0 to 1")
    accuracy_now: Number = Field(description="share of right answers, 0 to 1")
    negative: Share = Field(description="right before, wrong now")
    positive: Share = Field(description="wrong before, right now")


class Changed(DiagnosticSchema):
    """A pair of different answers to the same images."""

    before: str = Field(description="what the old version predicts")
    now: str = Field(description="what the new version predicts")
    images: int


class Flipped(DiagnosticSchema):
    """An image that was right before and is wrong now."""

    path: str
    label: str
    before: str = Field(description="what the old version predicts")
    now: str = Field(description="what the new version predicts")
    probability_before: Number = Field(description="of the label, by the old version")
    probability_now: Number = Field(description="of the label, by the new version")
    loss_increase: Number = Field(description="in nats")


class Speed(DiagnosticSchema):
    """Time of one image through the forward graph, both versions in turns on this machine."""

    before: float = Field(description="median of the turns, in milliseconds")
    now: float = Field(description="median of the turns, in milliseconds")
    ratio: Difference = Field(description="time now / before: median of the turns, with its exact 95 % interval")
    turns: int
    execution_provider: str


class LayerChange(DiagnosticSchema):
    """The share of one layer in the change of the mean loss."""

    layer: str
    change: Number = Field(description="of the mean loss, in nats; negative where the layer made it smaller")


class LossByLayer(DiagnosticSchema):
    """The change of the mean loss, taken apart by layer."""

    images: int = Field(description="images on which it was measured")
    measured: Number = Field(description="mean loss now less before, in nats")
    total: Number = Field(description="sum over all layers and other parameters, in nats")
    is_complete: bool = Field(description="whether the sum is the measured change within its tolerance")
    steps: int = Field(description="places between the two versions at which gradients were taken")
    layers: list[LayerChange] = Field(description="layers and other trained tensors, the largest change first")
    because: str = Field(description="how far the sum is from the measured change, in a sentence")


class Limit(DiagnosticSchema):
    """One limit, and what was found."""

    name: str = Field(description="its flag without the dashes")
    what: str = Field(description="what it limits, in words")
    state: Literal["kept", "broken", "not measured"]
    limit: str = Field(description="as it was set, in words")
    value: str = Field(description="what was found, in words, with the 95 % interval where there is one")
    because: str = Field(description="the limit, value and interval in one sentence")


class Against(DiagnosticSchema):
    """The whole answer of `check NEW --against OLD`."""

    exit_status: int = Field(description="0: all limits are kept; 1: one is broken, or what it limits is not known")
    old: CheckedVersion
    new: CheckedVersion
    limits: list[Limit]
    images: ImagesCompared
    label_kind: Literal["exclusive", "independent"] = Field(
        description="independent: an image counts as right where its folder's label is among those predicted"
    )
    flips: FlipsFound | None = Field(description="null where no image has a label of both versions")
    by_label: list[LabelFlips] = Field(description="labels with images, the largest share of negative flips first")
    loss: Mean | None = Field(description="of the same images")
    calibration: CalibrationFound | None = Field(description="of the same images; null for independent labels")
    disagreements: Share | None = Field(description="images that the versions answer differently, labelled or not")
    changed: list[Changed] = Field(description="the most frequent pairs of different answers")
    worst: list[Flipped] = Field(description="negative flips with the largest increase of the loss, the worst first")
    speed: Speed | None
    moved: list[LayerDifference] | None = Field(
        description="layers of the old version beside those of the new one; null where gradients are not known"
    )
    gradients_on: LookedAt | None = Field(description="images behind the verdicts and the moved layers")
    loss_by_layer: LossByLayer | None
    notes: list[str] = Field(description="what does not apply or was not measured, and why, in sentences")

    @property
    def moved_layers(self) -> list[LayerDifference]:
        """The layers whose gradients moved."""
        return [one for one in self.moved or () if one.moved]


def status_of(limits: list[Limit]) -> int:
    """Return the exit status: 0 if all limits are kept, else 1."""
    return HEALTHY if all(limit.state == "kept" for limit in limits) else NOT_HEALTHY
