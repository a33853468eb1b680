"""Reading data sets: every form gives the same images, and every fault names its file."""

from __future__ import annotations

import io
from pathlib import Path
from shutil import make_archive

import numpy as np
import pytest
from PIL import Image

from models.training.data import DataError, load
from tests.models.small_data import LABELS, as_published, cifar_batches, files, write_folder, write_tar, write_zip


def test_a_folder_a_tar_and_a_zip_of_one_data_set_are_the_same(tmp_path: Path) -> None:
    content = files()
    folder = load(write_folder(tmp_path / "folder", content))
    for other in (load(write_tar(tmp_path / "a.tar.gz", content)), load(write_zip(tmp_path / "a.zip", content))):
        assert other.labels == folder.labels == LABELS
        np.testing.assert_array_equal(other.train.images, folder.train.images)
        np.testing.assert_array_equal(other.test.classes, folder.test.classes)
        assert other.train.names == folder.train.names


def test_an_archive_may_hold_the_splits_in_a_folder_of_its_own(tmp_path: Path) -> None:
    nested = {f"photos/v1/{name}": content for name, content in files().items()}
    assert len(load(write_zip(tmp_path / "a.zip", nested)).train) == 6


def test_images_are_rgb_in_the_order_of_their_labels(tmp_path: Path) -> None:
    data = load(write_folder(tmp_path, files(per_class=3)))
    assert data.train.images.shape == (9, 8, 8, 3)
    assert data.train.images.dtype == np.uint8
    assert data.train.classes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert data.train.images[data.train.classes == 2][..., 0].mean() > 100, "class red is bright in the first channel"


@pytest.mark.parametrize("damage", [b"", b"no image", b"\x89PNG\r\n\x1a\n cut off"])
def test_a_corrupt_image_is_refused_by_its_name(tmp_path: Path, damage: bytes) -> None:
    content = files() | {"train/green/broken.png": damage}
    for path in (write_folder(tmp_path / "folder", content), write_zip(tmp_path / "a.zip", content)):
        with pytest.raises(DataError, match=r"train/green/broken\.png: not a readable image"):
            load(path)


def test_a_truncated_image_is_refused_by_its_name(tmp_path: Path) -> None:
    whole = files()["train/red/0.png"]
    with pytest.raises(DataError, match=r"train/red/cut\.png"):
        load(write_folder(tmp_path, files() | {"train/red/cut.png": whole[: len(whole) // 2]}))


def test_an_empty_class_is_refused_by_its_name(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", files())
    (root / "train/yellow").mkdir()
    packed = (Path(make_archive(str(tmp_path / "a"), form, root)) for form in ("zip", "tar"))
    for path in (root, *packed):
        with pytest.raises(DataError, match=r"train/yellow: the class is empty"):
            load(path)


def test_a_class_without_an_image_is_refused_by_its_name(tmp_path: Path) -> None:
    notes = {f"{split}/yellow/notes.txt": b"to do" for split in ("train", "test")}
    for path in (write_folder(tmp_path / "folder", files() | notes), write_zip(tmp_path / "a.zip", files() | notes)):
        with pytest.raises(DataError, match=r"yellow: the class is empty"):
            load(path)


def test_what_file_managers_leave_behind_is_passed_over(tmp_path: Path) -> None:
    left = {"__MACOSX/train/red/._0.png": b"x", "train/red/._0.png": b"x", "train/.cache/0.png": b"x"}
    assert len(load(write_zip(tmp_path / "a.zip", files() | left)).train) == 6


def test_a_damaged_archive_is_refused_by_its_path(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar.gz", files())
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    archive = write_zip(tmp_path / "a.zip", files())
    content = bytearray(archive.read_bytes())
    content[len(content) // 4] ^= 0xFF
    archive.write_bytes(content)
    for path in (tar, archive):
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read to its end"):
            load(path)


def test_a_class_in_one_split_only_is_refused_by_its_name(tmp_path: Path) -> None:
    content = {name: data for name, data in files().items() if not name.startswith("test/blue/")}
    with pytest.raises(DataError, match="blue"):
        load(write_folder(tmp_path, content))


def test_one_class_is_refused(tmp_path: Path) -> None:
    content = {name: data for name, data in files().items() if "/red/" in name}
    with pytest.raises(DataError, match=r"two labels or more; train holds only red"):
        load(write_folder(tmp_path, content))


def test_an_image_of_another_size_is_refused_by_its_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 8)).save(buffer, "PNG")
    with pytest.raises(DataError, match=r"test/red/odd\.png: 9×8 pixels, the others have 8×8"):
        load(write_folder(tmp_path, files() | {"test/red/odd.png": buffer.getvalue()}))


def test_nothing_and_neither_are_refused_by_their_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file"):
        load(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt: neither a folder of images, a tar, nor a zip"):
        load(tmp_path / "notes.txt")


def test_the_official_cifar_archive_is_recognised_packed_and_unpacked(tmp_path: Path) -> None:
    batches = cifar_batches(per_batch=4)
    packed = load(write_tar(tmp_path / "cifar-10-python.tar.gz", batches))
    zipped = load(write_zip(tmp_path / "cifar-10-python.zip", batches))
    above = write_folder(tmp_path / "unpacked", batches)
    for data in (packed, zipped, load(above), load(above / "cifar-10-batches-py")):
        assert data.labels[0] == "airplane"
        assert len(data.labels) == 10
        assert data.train.images.shape == (20, 32, 32, 3)
        assert data.test.names == tuple(f"test_batch_{row}.png" for row in range(4))
    first_row = np.random.default_rng(0)
    first_row.integers(0, 10, 4)
    pixels = first_row.integers(0, 256, (4, 3072)).astype(np.uint8)[0]
    np.testing.assert_array_equal(packed.train.images[0, 0, :3, 0], pixels[:3], "row 0 of the red plane comes first")
    np.testing.assert_array_equal(packed.train.images[0, 0, 0], pixels[[0, 1024, 2048]])


def test_a_cifar_archive_without_a_batch_is_refused_by_its_name(tmp_path: Path) -> None:
    batches = cifar_batches()
    del batches["cifar-10-batches-py/data_batch_3"]
    with pytest.raises(DataError, match="lacks data_batch_3"):
        load(write_tar(tmp_path / "a.tar.gz", batches))


def test_a_damaged_cifar_batch_is_refused_by_its_name(tmp_path: Path) -> None:
    batches = cifar_batches()
    whole = batches["cifar-10-batches-py/data_batch_2"]
    batches["cifar-10-batches-py/data_batch_2"] = whole[: len(whole) // 2]
    with pytest.raises(DataError, match=r"data_batch_2: not a readable batch"):
        load(write_tar(tmp_path / "a.tar.gz", batches))


class _RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


def test_a_cifar_archive_that_would_run_code_is_refused(tmp_path: Path) -> None:
    batches = cifar_batches() | {"cifar-10-batches-py/data_batch_1": as_published({b"data": _RunsCode()})}
    with pytest.raises(DataError, match=r"eval, which CIFAR-10 does not hold"):
        load(write_tar(tmp_path / "a.tar.gz", batches))


def test_the_pickles_of_the_test_are_like_the_published_ones() -> None:
    assert b"cnumpy.core.multiarray\n" in as_published({b"data": np.zeros((1, 3072), np.uint8)})
