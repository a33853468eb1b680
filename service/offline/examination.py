"""One model examined: on images of a folder, or on pictures made for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Pixels
from service.contract.bundle_schema import NOT_FINITE_NOTE, Bundle
from service.diagnostics.gradients import diagnose
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.quantized import about_network
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import sentence
from service.images.errors import ImageError
from service.offline.made_pictures import made_pictures
from service.offline.model import LabelledFile, OfflineModel, decoded, labelled_files, labels_of
from service.offline.outcome import Judged, LookedAt, UndecodableFile

NOT_COMPARED: Final = (
    "Not compared with the bundle's record of its training images: that takes images like those (`--data FOLDER`)."
)


@dataclass(frozen=True)
class Images:
    """Images to look at: pixels, uint8 [n, h, w, c], the labels of their losses, and what to say of them."""

    pixels: Pixels
    labels: NDArray[np.int64]
    said: LookedAt


def images_for(model: OfflineModel, folder: Path | None, count: int) -> Images:
    """Return `count` pictures made for the model, or up to `count` images spread over a folder.

    Raises:
        ValueError, OSError: there is no image, none can be decoded, or the folder cannot be listed.
    """
    spec = model.bundle.input
    if folder is None:
        said = LookedAt(count=count, height=spec.height, width=spec.width, folder=None)
        return Images(made_pictures(count, spec), model.kind.none_given(count, len(model.bundle.labels)), said)
    files = labelled_files(folder, model.bundle.labels)
    if not files:
        raise ValueError(f"{folder}: there is no image in it")
    chosen = [files[row] for row in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
    found: list[tuple[LabelledFile, Pixels]] = []
    undecodable = []
    for file, pixels in zip(chosen, decoded(folder, chosen, model), strict=True):
        if isinstance(pixels, ImageError):
            undecodable.append(UndecodableFile(path=file.path, reason=pixels.detail.rstrip(".")))
        else:
            found.append((file, pixels))
    if not found:
        raise ValueError(f"{folder}: no image in it can be decoded")
    said = LookedAt(count=len(found), height=spec.height, width=spec.width, folder=str(folder), undecodable=undecodable)
    return Images(np.stack([pixels for _, pixels in found]), labels_of([file for file, _ in found], model.bundle), said)


async def examined(path: Path, model: OfflineModel, images: Images, thresholds: Thresholds) -> Judged:
    """Measure the images, and judge the model that was named as `path`.

    Where pictures were made and the bundle has a record of its training images, the record says which channels are
    dead: what fires on an image of the training is alive, whatever made pictures say.
    """
    bundle, made = model.bundle, images.said.folder is None
    known = made and _records_channels(bundle)
    measured = await measure_gradients(model.run, bundle, images.pixels, images.labels, channels_are_known=known)
    diagnosis = diagnose(bundle, measured, thresholds)
    about = await about_network(model.run, bundle, images.pixels, diagnosis.samples)
    notes = [sentence(about)] if about is not None else []
    if diagnosis.verdict.state == "not finite":
        notes += [sentence(note) for note in bundle.notes if note.startswith(NOT_FINITE_NOTE)]
    return Judged(
        path=str(path),
        model=bundle.name,
        version=bundle.version,
        bundle=model.stored.digest,
        images=images.said,
        verdict=diagnosis.verdict,
        unlike_itself=None if made else diagnosis.unlike_itself,
        notes=[*notes, NOT_COMPARED] if made and diagnosis.unlike_itself is not None else notes,
    )


def _records_channels(bundle: Bundle) -> bool:
    """Tell whether the bundle recorded the dead channels of every layer that may have some."""
    recorded: Sequence[str] = () if bundle.baseline is None else tuple(bundle.baseline.dead_fraction)
    return all(layer.name in recorded for layer in bundle.layers if layer.rectifier is not None)
