"""Which layers changed the loss: the change from the old version to the new one, taken apart by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.offline.against.outcome import LossByLayer
from service.offline.against.versions import LocalVersion, Version
from service.offline.model import LabelledFile


def loss_by_layer(
    old: Version, new: Version, folder: Path, files: Sequence[LabelledFile], images: int
) -> LossByLayer | str:
    """Return the change of the mean loss by layer on some labelled images, or why there is none.

    Args:
        images: labelled images to take, at most, spread over all.
    """
    if not isinstance(old, LocalVersion) or not isinstance(new, LocalVersion):
        return "a service does not hand out its weights"
    return "the bundles have no graph for it"
