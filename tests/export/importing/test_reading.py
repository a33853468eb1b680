"""A file that is no sound model is refused in one line, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, external_data_helper

from export.gradient.errors import InvalidModel
from export.importing.reading import read_model
from tests.export.importing.graphs import classifier, saved


def refusal(path: Path) -> str:
    with pytest.raises(InvalidModel) as caught:
        read_model(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def with_external_weights(folder: Path) -> Path:
    return saved(
        classifier(),
        folder,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="w.bin",
        size_threshold=0,
    )


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    assert next(node.op_type for node in read_model(saved(classifier(), tmp_path)).graph.node) == "Conv"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nothing.onnx: cannot be read (No such file" in refusal(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_called_truncated(tmp_path: Path, share: float) -> None:
    path = saved(classifier(), tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(60), b"\x89PNG\r\n\x1a\n" + bytes(60), b"not a model", b""])
def test_another_kind_of_file_is_not_onnx(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert "not an ONNX" in refusal(path)


def test_external_weights_are_read(tmp_path: Path) -> None:
    tensor = read_model(with_external_weights(tmp_path)).graph.initializer[0]
    assert not external_data_helper.uses_external_data(tensor)
    assert len(tensor.raw_data) == 5 * 27 * 4


def test_a_missing_external_file_is_named_with_its_weight(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "w.bin").unlink()
    assert "weight 'conv.weight': its external data file 'w.bin' is missing" in refusal(path)


def test_a_short_external_file_says_how_many_bytes_are_needed(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "w.bin").write_bytes(bytes(100))
    assert "has 100 bytes, 540 are needed" in refusal(path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "inner/../../secret.bin", ""])
def test_external_data_outside_the_folder_is_refused_unread(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    path = with_external_weights(folder)
    model = ModelProto.FromString(path.read_bytes())
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())
    assert "lies outside the model's folder" in refusal(path)


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = with_external_weights(folder)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    os.symlink(tmp_path / "w.bin", folder / "w.bin")
    assert "lies outside the model's folder" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_counted_and_named(tmp_path: Path, value: float) -> None:
    bias = np.array([0, value, 0, value, 0], dtype=np.float32)
    path = saved(classifier(constants={"conv.bias": bias}), tmp_path)
    assert refusal(path) == "weight 'conv.bias': 2 of 5 values are NaN or infinite"


def test_an_infinite_bound_is_no_weight(tmp_path: Path) -> None:
    assert read_model(saved(classifier(constants={"bound": np.array(np.inf, dtype=np.float32)}), tmp_path))


def test_weights_that_do_not_fill_their_shape_are_refused(tmp_path: Path) -> None:
    model = classifier()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    assert "do not fit its shape [5, 3, 3, 3]" in refusal(saved(model, tmp_path))
