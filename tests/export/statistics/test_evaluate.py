"""The error rate of a bundle on labelled images is measured through ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.statistics.evaluate import evaluate
from models.training.data import DataError, Split
from service.contract.bundle_schema import Bundle

ROOT = Path(__file__).parents[3]
RESNET20 = ROOT / "models/bundles/resnet20"
LABELS = Bundle.model_validate_json((RESNET20 / "bundle.json").read_text()).labels


@pytest.fixture(scope="module")
def photographs() -> Split:
    """Two photographs of every class, in the order of the bundle's labels."""
    names = tuple(f"{label}{number}.jpg" for label in LABELS for number in ("", "2"))
    images = [np.asarray(Image.open(ROOT / "tests/photographs" / name).convert("RGB")) for name in names]
    return Split(np.stack(images), np.repeat(np.arange(len(LABELS)), 2), names)


def test_photographs_of_the_test_set_are_recognised(photographs: Split) -> None:
    result = evaluate(RESNET20, LABELS, photographs)
    assert result.images == 20
    assert result.error <= 0.3


def test_the_error_does_not_depend_on_how_the_data_set_numbers_its_classes(photographs: Split) -> None:
    backwards = Split(photographs.images, len(LABELS) - 1 - photographs.classes, photographs.names)
    assert evaluate(RESNET20, LABELS[::-1], backwards) == evaluate(RESNET20, LABELS, photographs)


def test_wrong_labels_are_counted(photographs: Split) -> None:
    shifted = Split(photographs.images, (photographs.classes + 1) % len(LABELS), photographs.names)
    assert evaluate(RESNET20, LABELS, shifted).error >= 0.7


def test_images_of_other_classes_or_another_size_are_refused(photographs: Split) -> None:
    with pytest.raises(DataError, match="not the labels of resnet20"):
        evaluate(RESNET20, ("apple", *LABELS[1:]), photographs)
    small = Split(photographs.images[:, :16, :16], photographs.classes, photographs.names)
    with pytest.raises(DataError, match="the images are 16×16, the bundle takes 32×32"):
        evaluate(RESNET20, LABELS, small)
