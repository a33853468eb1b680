"""The flags of an import: what a file leaves open and only its owner, or the folder around it, knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from service.contract.bundle_schema import LabelKindName

Layout = Literal["nchw", "nhwc"]
ChannelOrder = Literal["rgb", "bgr"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
ResizeSide = Literal["shorter", "longer"]


@dataclass(frozen=True)
class ImportOptions:
    """The owner's statements about a file. Mean and std apply to RGB in [0, 1]; sizes are (height, width).

    `resize`, `resize_side` and `resize_rounding` are those of `InputSpec`. Where `resize` is None, `crop_fraction`
    says it: the crop keeps that share of each side of the size that the picture is resized to. With neither, that is
    the model's size. `labels` None calls the classes by what the file says, else by their numbers; `labels_source`
    says in words where they were found.
    """

    labels: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    scale: float = 1.0
    channels: ChannelOrder = "rgb"
    layout: Layout | None = None
    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    output: str | None = None
    crop_fraction: float | None = None
    resize_side: ResizeSide | None = None
    resize_rounding: Literal["down", "even"] = "down"
    crop_rounding: Literal["even", "down"] = "even"
    fill: tuple[int, int, int] = (0, 0, 0)
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    labels_are: LabelKindName | None = None
    labels_source: str = "--labels"

    def with_scale(self, scale: float) -> ImportOptions:
        """Return the same options for a network that wants its pixels times `scale`."""
        return replace(self, scale=scale)
