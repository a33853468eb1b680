"""The error rate of a bundle on labelled images is measured through ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.statistics.evaluate import evaluate
from export.statistics.record import record
from models.training.data import DataError, Split
from service.contract.bundle_schema import Bundle
from service.images.preprocess import normalise
from tests.export.importing.answer.references import session
from tests.export.importing.types.coarse_file import coarse, pixels, without_integers
from tests.service.imported_bundles import LABELS as INDEPENDENT
from tests.service.imported_bundles import write_independent, write_int8

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
    with pytest.raises(DataError, match="its labels are not those of resnet20"):
        evaluate(RESNET20, ("apple", *LABELS[1:]), photographs)
    small = Split(photographs.images[:, :16, :16], photographs.classes, photographs.names)
    with pytest.raises(DataError, match="the images are 16×16, the bundle takes 32×32"):
        evaluate(RESNET20, LABELS, small)


def drawn(labels: tuple[str, ...], size: int) -> Split:
    images = np.random.default_rng(3).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    return Split(images, np.arange(8) % len(labels), tuple(map(str, range(8))))


def test_independent_labels_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    write_independent(tmp_path / "bundles", "several")
    with pytest.raises(DataError, match=r"labels of several are independent, .* that exclude each other"):
        evaluate(tmp_path / "bundles" / "several", INDEPENDENT, drawn(INDEPENDENT, 6))
    before = (tmp_path / "bundles" / "several" / "bundle.json").read_text()
    with pytest.raises(DataError, match="exclude each other"):
        record(tmp_path / "bundles" / "several", INDEPENDENT, drawn(INDEPENDENT, 6))
    assert (tmp_path / "bundles" / "several" / "bundle.json").read_text() == before


def test_the_error_of_an_int8_file_is_that_of_its_own_graph(tmp_path: Path) -> None:
    write_int8(tmp_path / "bundles", "int8")
    folder = tmp_path / "bundles" / "int8"
    bundle = Bundle.model_validate_json((folder / "bundle.json").read_text())
    images = pixels()
    scores = session(coarse()).run(None, {"image": normalise(images, bundle.input)})[0]
    network = session(without_integers()).run(None, {"image": normalise(images, bundle.input)})[0]
    assert (scores.argmax(1) != network.argmax(1)).any()
    split = Split(images, scores.argmax(1), tuple(map(str, range(len(images)))))
    assert evaluate(folder, bundle.labels, split).error == 0
