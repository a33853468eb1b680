"""The files that an import reads: every change is seen, and what is no part of the model changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from service.sources.inputs import Inputs
from tests.export.importing.graphs import classifier

Change = Callable[[Path], object]


def write_model(folder: Path, weights: str = "weights.bin") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(classifier(), path, save_as_external_data=True, location=weights, size_threshold=0)
    return path


CHANGES: dict[str, tuple[Change, bool]] = {
    "its graph": (lambda folder: onnx.save(classifier(opset=19), folder / "model.onnx"), True),
    "its weights": (lambda folder: (folder / "weights.bin").write_bytes(b"x"), True),
    "its weights are gone": (lambda folder: (folder / "weights.bin").unlink(), True),
    "labels beside it": (lambda folder: (folder / "labels.txt").write_text("a"), True),
    "a description beside it": (lambda folder: (folder / "preprocessor_config.json").write_text("{}"), True),
    "a log": (lambda folder: (folder / "log.txt").write_text("x"), False),
    "a program": (lambda folder: (folder / "train.py").write_text("x"), False),
    "other weights": (lambda folder: (folder / "pytorch_model.bin").write_text("x"), False),
    "a picture of its labels": (lambda folder: (folder / "labels.png").write_text("x"), False),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
def test_a_change_is_seen_if_the_import_could_see_it(tmp_path: Path, what: str, as_folder: bool) -> None:
    change, is_seen = CHANGES[what]
    path = write_model(tmp_path / "net")
    inputs = Inputs(path.parent if as_folder else path)
    before = inputs.state()
    digest = inputs.digest(before)
    change(path.parent)
    after = inputs.state()
    assert (after != before, inputs.digest(after) != digest) == (is_seen, is_seen)


def test_files_that_were_only_touched_have_the_content_of_before(tmp_path: Path) -> None:
    inputs = Inputs(write_model(tmp_path))
    before = inputs.state()
    digest = inputs.digest(before)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "weights.bin").read_bytes())
    after = inputs.state()
    assert after != before
    assert inputs.digest(after) == digest


def test_two_models_of_one_folder_differ_in_their_own_weights(tmp_path: Path) -> None:
    path = write_model(tmp_path, "first.bin")
    path.rename(tmp_path / "first.onnx")
    write_model(tmp_path, "second.bin")
    inputs = Inputs(tmp_path / "first.onnx")
    before = inputs.state()
    (tmp_path / "second.bin").write_bytes(b"")
    assert inputs.state() == before


@pytest.mark.parametrize("letters", [7, 60, 127, 128, 200])
def test_weights_are_found_whatever_the_length_of_their_name(tmp_path: Path, letters: int) -> None:
    inputs = Inputs(write_model(tmp_path, "w" * letters))
    assert any(Path(mark[0]).name == "w" * letters for mark in inputs.state())


def test_a_description_above_the_folder_of_a_version_counts(tmp_path: Path) -> None:
    inputs = Inputs(write_model(tmp_path / "net" / "1"))
    before = inputs.state()
    (tmp_path / "net" / "config.pbtxt").write_text("name: 'net'")
    assert inputs.state() != before


def test_labels_that_a_flag_names_count_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    labels = tmp_path / "elsewhere" / "any"
    labels.write_text("a")
    inputs = Inputs(write_model(tmp_path / "net"), [labels])
    digest = inputs.digest(inputs.state())
    labels.write_text("b")
    assert inputs.digest(inputs.state()) != digest
