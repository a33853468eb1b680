"""A file that is no sound model is refused in one line, and nothing is written."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, external_data_helper

from export.graph.errors import InvalidModel
from export.importing.file.reading import not_finite, read_model
from tests.archives import zipped
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
    assert "nothing.onnx: there is no such file or folder" in refusal(tmp_path / "nothing.onnx")


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
    assert not_finite(read_model(path)) == ("numbers that are NaN or infinite are stored in 'conv.bias' (2 of 5)",)


def test_an_infinite_bound_is_no_weight() -> None:
    assert not_finite(classifier(constants={"bound": np.array(np.inf, dtype=np.float32)})) == ()


def test_weights_that_do_not_fill_their_shape_are_refused(tmp_path: Path) -> None:
    model = classifier()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    assert "do not fit its shape [5, 3, 3, 3]" in refusal(saved(model, tmp_path))


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("model.onnx")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"data"))
    return buffer.getvalue()


def safetensors() -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return len(header).to_bytes(8, "little") + header + bytes(4)


OTHER_FILES = {
    "nothing": (b"", "an empty file"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
    "a 404 page": (b"\n<!DOCTYPE html>\n<html><head><title>404</title>", "a web page"),
    "a PyTorch checkpoint": (zipped("archive/data.pkl", "archive/data/0"), "a PyTorch checkpoint"),
    "an old PyTorch checkpoint": (pickle.dumps({"conv.weight": 1}, protocol=2), "perhaps a PyTorch checkpoint"),
    "a Keras model": (zipped("config.json", "model.weights.h5"), "a Keras model"),
    "an HDF5 file": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "a TFLite model": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "a TensorFlow Lite model"),
    "an ORT file": (b"\x1c\x00\x00\x00ORTM" + bytes(64), "ONNX Runtime's own format"),
    "a zip of a model": (zipped("resnet/model.onnx"), "import resnet/model.onnx"),
    "a damaged zip": (b"PK\x03\x04" + bytes(60), "a damaged zip archive"),
    "numpy arrays": (zipped("w.npy"), "numpy arrays"),
    "a tar archive": (tarred(), "a tar archive"),
    "a gzip file": (gzip.compress(bytes(100)), "packed by gzip"),
    "safetensors": (safetensors(), "a safetensors file"),
    "OpenVINO's XML": (b'<?xml version="1.0"?>\n<net name="m" version="11">', "OpenVINO"),
    "ONNX as text": (b"ir_version: 8\ngraph {\n  node {", "written as text"),
    "JSON": (b'{"model": "resnet"}', "a JSON file"),
    "a picture": (b"\xff\xd8\xff\xe0" + bytes(60), "a picture"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_another_kind_of_file_is_recognised(tmp_path: Path, kind: str) -> None:
    content, words = OTHER_FILES[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    said = refusal(path)
    assert "not an ONNX" in said
    assert "it seems to be" in said
    assert words in said


def test_a_folder_is_told_by_the_models_in_it(tmp_path: Path) -> None:
    assert "a folder; name the .onnx file in it (none is there)" in refusal(tmp_path)
    saved(classifier(), tmp_path)
    assert "a folder; name the .onnx file in it (model.onnx)" in refusal(tmp_path)


def test_a_file_larger_than_protobuf_reads_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    assert "2147483648 bytes, but an ONNX file ends below 2 GiB; save its weights as external data" in refusal(path)


def test_external_data_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path)
    (tmp_path / "w.bin").unlink()
    (tmp_path / "w.bin").mkdir()
    assert "'w.bin' is missing" in refusal(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("offset", "many", "described wrongly"),
        ("length", "-4", "described wrongly"),
        ("offset", "-4", "described wrongly"),
        ("location", "w\0.bin", "NUL"),
    ],
)
def test_external_data_described_wrongly_are_refused(tmp_path: Path, key: str, value: str, words: str) -> None:
    path = with_external_weights(tmp_path)
    model = ModelProto.FromString(path.read_bytes())
    tensor = model.graph.initializer[0]
    entry = next((entry for entry in tensor.external_data if entry.key == key), None) or tensor.external_data.add()
    entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    assert words in refusal(path)


def test_a_name_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"conv.bias", b"conv.\xffias"))
    assert "damaged: a name in it is not text (b'conv.\\xffias')" in refusal(path)


def test_negative_sizes_and_sparse_weights_are_refused(tmp_path: Path) -> None:
    model = classifier()
    model.graph.initializer[0].dims[0] = -1
    assert "a size of its shape [-1, 3, 3, 3] is negative" in refusal(saved(model, tmp_path))
    model = classifier()
    model.graph.sparse_initializer.add().values.name = "sparse"
    assert "sparse tensors" in refusal(saved(model, tmp_path))
