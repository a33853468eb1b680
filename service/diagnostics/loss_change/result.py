"""The change of loss from one version to another, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["layer", "other", "rest"]


@dataclass(frozen=True, slots=True)
class PartChange:
    """The share of one layer, or of one other parameter, in the change of the mean loss."""

    name: str
    """Of the layer or of the parameter, as NEW's `bundle.json` has it; of what has no name there, "the rest"."""
    kind: Kind
    """layer: its weight, its bias and what was folded into it. other: one of `Bundle.other_parameters`, without those
    that were folded into a layer. rest: single numbers and the like, which `bundle.json` does not list."""
    change: float
    """∫⟨dL/dW(α), NEW − OLD⟩ dα in nats; above 0 it made the mean loss larger. Exactly 0 where nothing differs."""
    weight_change: float
    """‖NEW − OLD‖₂ / ‖OLD‖₂ of its numbers as the graphs hold them, so of a folded layer; 0 where they are equal."""


@dataclass(frozen=True, slots=True)
class LossChange:
    """How the mean loss of the same images changed from OLD to NEW, and which parts of the network changed it."""

    images: int
    old_loss: float
    """Mean loss in nats of the network OLD. Of a file of integers, that is the float network that it stands for."""
    new_loss: float
    parts: tuple[PartChange, ...]
    """All layers in forward order, then the other parameters, then the rest if the network has such numbers."""
    steps: int
    """Points of the path at which gradients were measured."""
    allowed_error: float
    """Nats by which `total` and `measured` may differ so that the division is called complete."""

    @property
    def measured(self) -> float:
        """NEW's mean loss less OLD's, in nats."""
        return self.new_loss - self.old_loss

    @property
    def total(self) -> float:
        """The sum of all parts, in nats."""
        return sum(part.change for part in self.parts)

    @property
    def error(self) -> float:
        """`total` less `measured`, in nats."""
        return self.total - self.measured

    @property
    def complete(self) -> bool:
        """True if the parts add up to the measured change."""
        return abs(self.error) <= self.allowed_error

    @property
    def by_size(self) -> tuple[PartChange, ...]:
        """The parts that changed the loss, the largest change first, whichever way it went."""
        return tuple(sorted((part for part in self.parts if part.change), key=lambda part: -abs(part.change)))


@dataclass(frozen=True, slots=True)
class NotDivided:
    """The change of loss cannot be divided among the layers."""

    reason: str
    """Why, as a sentence without its full stop, such as "the two are not of one architecture: …"."""
