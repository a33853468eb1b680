"""`python -m export evaluate`: the error rate of a bundle on labelled images, through ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.writing.bundle import read_description
from models.training.data import DataError, Split
from service.contract.bundle_schema import Bundle, InputSpec
from service.contract.loss import losses
from service.images.preprocess import normalise

BATCH_SIZE = 250
SHOWN = 5


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy (nats) and error rate over `images` images."""

    images: int
    loss: float
    error: float


def normalized(images: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Turn images uint8 [n, h, w, 3] into the tensor `input`, as the service does.

    Raises:
        DataError: the images have another size than the network's input. The service would resize
            them; a measurement must not.
    """
    if images.shape[1:3] != (spec.height, spec.width):
        raise DataError(
            f"the images are {images.shape[2]}×{images.shape[1]}, the bundle takes {spec.width}×{spec.height}; "
            "bring them to that size first, as the network's training did"
        )
    return normalise(images, spec)


def in_classes_of(bundle: Bundle, labels: tuple[str, ...], split: Split) -> Split:
    """Renumber the classes of a split, which stand for `labels`, as the bundle numbers its labels.

    Raises:
        DataError: the images have other labels than the bundle, or its labels are independent.
    """
    if bundle.label_kind == "independent":
        raise DataError(
            f"the labels of {bundle.name} are independent, and these images have one class each: error rates and "
            "statistics are measured for classes that exclude each other"
        )
    if set(labels) != set(bundle.labels):
        unknown, missing = (sorted(a - b) for a, b in permutations((set(labels), set(bundle.labels))))
        raise DataError(
            f"its labels are not those of {bundle.name}: "
            + "; ".join(
                f"{words} {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
                for words, names in (("the bundle does not know", unknown), ("there are no images of", missing))
                if names
            )
        )
    return Split(split.images, np.array([bundle.labels.index(label) for label in labels])[split.classes], split.names)


def evaluate(folder: Path, labels: tuple[str, ...], split: Split) -> Evaluation:
    """Run the forward graph of the bundle in `folder` over every image of the split, without augmentation.

    Args:
        labels: the names of the classes that `split` numbers.

    Raises:
        DataError: the images have other labels or another size than the bundle.
    """
    bundle = read_description(folder)
    split = in_classes_of(bundle, labels, split)
    session = onnxruntime.InferenceSession(folder / bundle.graphs["forward"].file, providers=["CPUExecutionProvider"])
    loss, wrong = 0.0, 0
    for start in range(0, len(split), BATCH_SIZE):
        classes = split.classes[start : start + BATCH_SIZE]
        images = normalized(split.images[start : start + BATCH_SIZE], bundle.input)
        logits = session.run(["logits"], {"input": images})[0]
        loss += float(losses(logits, classes).sum())
        wrong += int((logits.argmax(1) != classes).sum())
    return Evaluation(len(split), loss / len(split), wrong / len(split))
