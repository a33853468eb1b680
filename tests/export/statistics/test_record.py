"""`python -m export record` measures statistics by the bundle's graphs, and leaves the rest of the bundle as it was."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.__main__ import main
from export.statistics.record import record
from export.statistics.separability import nearest_mean, pool
from models.training.data import DataError, Split
from service.bundles.disk import read_bundle
from service.contract.bundle_schema import Bundle

ROOT = Path(__file__).parents[3]
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of resnet20 without a record of its training images, like an imported bundle."""
    folder = tmp_path / "resnet20"
    shutil.copytree(ROOT / "models" / "bundles" / "resnet20", folder)
    (folder / "reference.npz").unlink()
    bundle = Bundle.model_validate_json((folder / "bundle.json").read_text())
    digests = {name: digest for name, digest in bundle.sha256.items() if name != "reference.npz"}
    bare = bundle.model_copy(update={"baseline": None, "separability": None, "sha256": digests})
    (folder / "bundle.json").write_text(bare.model_dump_json())
    return folder


def photographs(times: int) -> Split:
    """Repeat two photographs of each class `times` times, class by class."""
    files = [ROOT / "tests" / "photographs" / f"{label}{number}.jpg" for label in LABELS for number in ("", "2")]
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]).repeat(times, axis=0)
    return Split(images, np.repeat(np.arange(10), 2 * times), ("",) * len(images))


def test_a_bundle_without_a_record_gets_one_and_is_still_served(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
    written = record(folder, LABELS, photographs(2))
    assert read_bundle(folder).bundle == written
    assert {path.name: path.read_bytes() for path in folder.glob("*.onnx")} == before
    assert written.baseline is not None
    assert written.baseline.images == 40
    assert written.separability is not None
    shares = list(written.separability.nearest_mean.values())
    assert len(shares) == 20
    assert shares[-1] > 0.8


def test_classes_with_too_few_images_are_not_said_to_be_separable(folder: Path) -> None:
    assert record(folder, LABELS, photographs(1)).separability is None


def test_images_with_other_labels_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="its labels are not those of"):
        record(folder, ("a", "b"), photographs(1))


def image(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def data_set(folder: Path, labels: Sequence[str], side: int = 32, splits: Sequence[str] = ("train", "test")) -> Path:
    for split in splits:
        for label in labels:
            (folder / split / label).mkdir(parents=True)
            (folder / split / label / "0.png").write_bytes(image(side))
    return folder


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda data: data.mkdir(), "are expected, with two labels or more; found nothing"),
    "one folder per label": (
        lambda data: data_set(data, LABELS, splits=[""]),
        "train/<label>/<image> and test/<label>/<image> are expected, with two labels or more; "
        "found airplane, automobile, bird, cat, deer, …",
    ),
    "no test images": (
        lambda data: data_set(data, LABELS[:2], splits=["train"]),
        "train and test do not hold the same labels: only one of them has airplane, automobile",
    ),
    "other labels": (
        lambda data: data_set(data, ["apple", *LABELS[2:]]),
        "its labels are not those of resnet20: the bundle does not know apple; "
        "there are no images of airplane, automobile",
    ),
    "another size": (
        lambda data: data_set(data, LABELS, side=48),
        "the images are 48×48, the bundle takes 32×32; bring them to that size first",
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_data_that_do_not_fit_are_refused_with_their_folder_and_what_is_expected(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make, words = UNFIT[kind]
    make(tmp_path / "data")
    before = (folder / "bundle.json").read_bytes()
    assert main(["record", str(folder), "--data", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/data: ")
    assert words in said
    assert (folder / "bundle.json").read_bytes() == before


def test_separability_is_chance_without_and_complete_with_distance() -> None:
    classes = np.repeat(np.arange(3), 200)
    features = np.random.default_rng(0).normal(size=(600, 5))
    fitting = np.arange(600) % 2 == 0
    assert nearest_mean(features, classes, fitting) == pytest.approx(1 / 3, abs=0.1)
    features[np.arange(600), classes] += 8
    assert nearest_mean(features, classes, fitting) == 1.0


@pytest.mark.parametrize(("height", "width", "numbers"), [(4, 4, 4), (5, 3, 4), (1, 1, 1), (1, 2, 2)])
def test_maps_of_any_size_are_pooled(height: int, width: int, numbers: int) -> None:
    maps = np.ones((2, 3, height, width), np.float32)
    assert pool(maps).shape == (2, 3 * numbers)
    assert (pool(maps) == 1).all()
