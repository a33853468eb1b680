"""`python -m export record`: measure a bundle's statistics on labelled images, and write them into the bundle.

An imported bundle has none; that of an older version may lack some. Graphs and weights stay as they are.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from export.statistics.baseline import baseline, reference_statistics
from export.statistics.evaluate import in_classes_of, normalized
from export.statistics.separability import separability
from export.writing.bundle import read_bundle_and_graphs, replaced_whole, write_description
from models.training.data import Split
from service.contract.bundle_schema import Baseline, Bundle, GraphName, InputSpec, Layer, Separability
from service.contract.reference import REFERENCE_FILE

BASELINE_IMAGES = 512
SEPARABILITY_IMAGES = 2000
NEEDED: tuple[GraphName, ...] = ("weight_norms", "activations", "feature_maps")


def measured(
    graphs: Mapping[GraphName, onnx.ModelProto], layers: tuple[Layer, ...], spec: InputSpec, split: Split
) -> tuple[Baseline, Separability | None, dict[str, bytes]]:
    """Measure the statistics on images spread evenly over `split`.

    Returns:
        The gradient baseline, the separability (None where a class has too few images), and the files
        that belong to them, by name.

    Raises:
        DataError: the images have another size than `spec`.
    """
    few, many = spread(split, BASELINE_IMAGES), spread(split, SEPARABILITY_IMAGES)
    images = normalized(few.images, spec)
    statistics = reference_statistics(graphs, images)
    return (
        baseline(graphs, layers, images, few.classes),
        separability(graphs["feature_maps"], layers, normalized(many.images, spec), many.classes),
        {REFERENCE_FILE: npz(statistics)} if statistics else {},
    )


def record(folder: Path, labels: tuple[str, ...], split: Split) -> Bundle:
    """Measure the statistics of the bundle in `folder` on `split`, and write them into the bundle.

    Args:
        labels: the names of the classes that `split` numbers.

    Raises:
        DataError: the images have other labels or another size than the bundle.
        OSError: the bundle cannot be written; it is unchanged.
    """
    bundle, graphs = read_bundle_and_graphs(folder, NEEDED)
    renumbered = in_classes_of(bundle, labels, split)
    gradient_baseline, separable, files = measured(graphs, bundle.layers, bundle.input, renumbered)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    changed = {"baseline": gradient_baseline, "separability": separable, "sha256": {**bundle.sha256, **digests}}
    written = bundle.model_copy(update=changed)
    with replaced_whole(folder) as part:
        shutil.copytree(folder, part, dirs_exist_ok=True)
        for name, content in files.items():
            (part / name).write_bytes(content)
        write_description(written, part)
    return written


def spread(split: Split, count: int) -> Split:
    """Choose up to `count` samples, evenly spaced: a split lists its classes one after the other."""
    rows = np.linspace(0, len(split) - 1, min(count, len(split)), dtype=np.int64)
    return Split(split.images[rows], split.classes[rows], tuple(split.names[row] for row in rows))


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Return the content of an `.npz` file that holds `arrays` by name."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
