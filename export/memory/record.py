"""`python -m export record`: what a bundle remembers of labelled images, measured from the bundle itself.

For a bundle that was imported, and so has no record, or whose record lacks what came later. The graphs and weights
stay as they are.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.memory.baseline import baseline, reference_statistics
from export.memory.evaluate import in_classes_of, normalized
from export.memory.separability import separability
from export.writing.bundle import read_bundle, replaced_whole
from models.data import Split
from service.contract.bundle_schema import Baseline, Bundle, GraphName, InputSpec, Layer, Separability
from service.contract.reference import REFERENCE_FILE

BASELINE_IMAGES = 512
SEPARABILITY_IMAGES = 2000


def measured(
    graphs: Mapping[GraphName, onnx.ModelProto], layers: tuple[Layer, ...], spec: InputSpec, split: Split
) -> tuple[Baseline, Separability | None, dict[str, bytes]]:
    """The record on images spread over `split`, and the files that go with it."""
    sample = spread(split, BASELINE_IMAGES)
    images = normalized(sample.images, spec)
    statistics = reference_statistics(graphs, images)
    more = spread(split, SEPARABILITY_IMAGES)
    return (
        baseline(graphs, layers, images, sample.classes),
        separability(graphs["feature_maps"], layers, normalized(more.images, spec), more.classes),
        {REFERENCE_FILE: npz(statistics)} if statistics else {},
    )


def record(folder: Path, labels: tuple[str, ...], split: Split) -> Bundle:
    """Measures the record of the bundle in `folder` on `split`, and writes it into the bundle.

    Raises:
        DataError: the images have other labels or another size than the bundle.
    """
    bundle, graphs = read_bundle(folder)
    own = in_classes_of(bundle, labels, split)
    remembered, separated, files = measured(graphs, bundle.layers, bundle.input, own)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    changed = {"baseline": remembered, "separability": separated, "sha256": {**bundle.sha256, **digests}}
    written = bundle.model_copy(update=changed)
    with replaced_whole(folder) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
        for name, content in files.items():
            (part / name).write_bytes(content)
        (part / "bundle.json").write_text(written.model_dump_json(indent=1, exclude_defaults=False) + "\n")
    return written


def spread(split: Split, count: int) -> Split:
    """`count` samples evenly spaced over the split, which lists its classes one after the other."""
    rows = np.linspace(0, len(split) - 1, min(count, len(split)), dtype=np.int64)
    return Split(split.images[rows], split.classes[rows], tuple(split.names[row] for row in rows))


def npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
