"""The files that an import reads: every change is seen, and what is no part of the model changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from export.importing.folders import custom_vision, hugging_face, label_files, paddle, speaking, timm_config, triton
from service.sources.inputs import Inputs
from tests.export.importing.graphs import classifier

Change = Callable[[Path], object]


def write_model(folder: Path, weights: str = "weights.bin") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(classifier(), path, save_as_external_data=True, location=weights, size_threshold=0)
    return path


CHANGES: dict[str, tuple[Change, set[str]]] = {
    "its graph": (lambda folder: onnx.save(classifier(opset=19), folder / "model.onnx"), {"file", "folder"}),
    "its weights": (lambda folder: (folder / "weights.bin").write_bytes(b"x"), {"file", "folder"}),
    "its weights are gone": (lambda folder: (folder / "weights.bin").unlink(), {"file", "folder"}),
    "labels beside it": (lambda folder: (folder / "labels.txt").write_text("a"), {"folder"}),
    "a description beside it": (lambda folder: (folder / "preprocessor_config.json").write_text("{}"), {"folder"}),
    "a log": (lambda folder: (folder / "log.txt").write_text("x"), set()),
    "a program": (lambda folder: (folder / "train.py").write_text("x"), set()),
    "other weights": (lambda folder: (folder / "pytorch_model.bin").write_text("x"), set()),
    "a picture of its labels": (lambda folder: (folder / "labels.png").write_text("x"), set()),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_change_is_seen_if_the_import_could_see_it(tmp_path: Path, what: str, kind: str) -> None:
    change, seen_by = CHANGES[what]
    path = write_model(tmp_path / "net")
    inputs = Inputs(path if kind == "file" else path.parent)
    before = inputs.state()
    digest = inputs.digest(before)
    change(path.parent)
    after = inputs.state()
    assert (after != before, inputs.digest(after) != digest) == (kind in seen_by, kind in seen_by)


DESCRIPTIONS = (
    *label_files.NAMES, hugging_face.CONFIG, hugging_face.PREPROCESSOR, speaking.PROCESSOR, timm_config.CONFIG,
    triton.CONFIG, paddle.INFERENCE, custom_vision.PROPERTIES, custom_vision.MANIFEST,
)  # fmt: skip


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_every_description_that_the_import_reads_counts(tmp_path: Path, name: str) -> None:
    inputs = Inputs(write_model(tmp_path / "net").parent)
    before = inputs.state()
    (tmp_path / "net" / name).write_text("{}")
    assert inputs.state() != before


@pytest.mark.parametrize(
    ("model", "described"),
    [
        ("net/1/model.onnx", "net/config.pbtxt"),
        ("onnx/model.onnx", "config.json"),
        ("snapshots/0f0f/onnx/model.onnx", "snapshots/0f0f/config.json"),
        ("snapshots/0f0f/model.onnx", "refs/main"),
    ],
)
def test_a_description_counts_wherever_a_producer_puts_it(tmp_path: Path, model: str, described: str) -> None:
    write_model((tmp_path / model).parent)
    inputs = Inputs(tmp_path)
    before = inputs.state()
    (tmp_path / described).parent.mkdir(exist_ok=True)
    (tmp_path / described).write_text("x")
    assert inputs.state() != before


def test_labels_of_any_name_count_beside_a_configuration_of_triton(tmp_path: Path) -> None:
    write_model(tmp_path / "1")
    (tmp_path / "config.pbtxt").write_text('output [ { label_filename: "flowers.txt" } ]')
    inputs = Inputs(tmp_path)
    before = inputs.state()
    (tmp_path / "flowers.txt").write_text("rose")
    assert inputs.state() != before


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


def test_labels_that_a_flag_names_count_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    labels = tmp_path / "elsewhere" / "any"
    labels.write_text("a")
    inputs = Inputs(write_model(tmp_path / "net"), [labels])
    digest = inputs.digest(inputs.state())
    labels.write_text("b")
    assert inputs.digest(inputs.state()) != digest
