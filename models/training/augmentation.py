"""Random crops and mirroring of training images, and their normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Views:
    """The view of each of n images: the crop's corner in the padded image, int64 [n], and mirroring, bool [n]."""

    top: Tensor
    left: Tensor
    mirrored: Tensor


def draw_views(count: int, padding: int, generator: torch.Generator) -> Views:
    """Draw the crops of `count` images, and mirror every second image on average."""
    top = torch.randint(0, 2 * padding + 1, (count,), generator=generator)
    left = torch.randint(0, 2 * padding + 1, (count,), generator=generator)
    return Views(top, left, torch.rand((count,), generator=generator) < 0.5)


def see(images: Tensor, padding: int, views: Views) -> Tensor:
    """Pad each image with zeros, crop it to its size and mirror it: uint8 [n, h, w, 3], on any device."""
    count, height, width, _ = images.shape
    padded = functional.pad(images, (0, 0, padding, padding, padding, padding))
    rows = views.top.view(-1, 1, 1) + torch.arange(height, device=images.device).view(1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, -1).expand(count, 1, -1)
    columns = views.left.view(-1, 1, 1) + torch.where(views.mirrored.view(-1, 1, 1), width - 1 - columns, columns)
    return padded[torch.arange(count, device=images.device).view(-1, 1, 1), rows, columns]


def normalize(images: Tensor, mean: Tensor, std: Tensor, size: int) -> Tensor:
    """Turn uint8 [n, h, w, 3] into normalised float32 [n, 3, size, size], channels last in memory.

    `mean` and `std` are those of pixels divided by 255, float32 [3, 1, 1] on the images' device.
    """
    batch = images.permute(0, 3, 1, 2).float() / 255
    batch = (batch - mean) / std
    if batch.shape[-1] != size:
        batch = functional.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    return batch.contiguous(memory_format=torch.channels_last)
