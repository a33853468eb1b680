"""The flags of an import: what a file leaves open and only its owner, or the folder around it, knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["nchw", "nhwc"]
ChannelOrder = Literal["rgb", "bgr"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
ResizeSide = Literal["shorter", "longer", "both"]


@dataclass(frozen=True)
class ImportOptions:
    """The owner's statements about a file. Mean and std apply to RGB in [0, 1]; sizes are (height, width).

    `resize` says to what the picture is resized before its middle is cut out; where it is None, `crop_fraction` says
    it by the share of the resized picture that the crop keeps. `resize_side` says which side that is: "both"
    stretches the picture. With neither, the picture goes straight to the model's size, or with "longer" into a
    square of it. `labels` None calls the classes by what the file says, else by their numbers.
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
    resize_side: ResizeSide = "shorter"
    resize_rounding: Literal["down", "nearest"] = "down"
    crop_rounding: Literal["even", "down"] = "even"
    fill: tuple[int, int, int] = (0, 0, 0)
    interpolation: Interpolation = "bilinear"
    antialias: bool = True

    def with_scale(self, scale: float) -> ImportOptions:
        """Return the same options for a network that wants its pixels times `scale`."""
        return replace(self, scale=scale)
