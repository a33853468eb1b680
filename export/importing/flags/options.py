"""The flags of an import: what a file leaves open and only its owner knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from service.contract.bundle_schema import LabelKindName

Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class ImportOptions:
    """The owner's statements about a file. Mean and std apply to RGB in [0, 1]; sizes are (height, width)."""

    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    scale: float = 1.0
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Layout | None = None
    resize: int | None = None
    crop: int | None = None
    output: str | None = None
    labels_are: LabelKindName | None = None

    def with_scale(self, scale: float) -> ImportOptions:
        """Return the same options for a network that wants its pixels times `scale`."""
        return replace(self, scale=scale)
