"""Which file of a folder is meant, and what lies around it: hub caches, Triton repositories, files of labels."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from export.graph.errors import InvalidModel
from export.importing import OptionMismatch
from export.importing.file.reading import read_model
from export.importing.folders.finding import find_models
from tests.export.importing.folders.producers import CLASSES, COMMIT, folder_with, hub_cache, network, resolved

CONFIG = """
name: "pets"  # the model
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "image", data_type: TYPE_FP32, format: FORMAT_NCHW, dims: [ 3, 32, 48 ] } ]
output [
  { name: "flat" data_type: TYPE_FP32 dims: [ 5 ] },
  { name: "scores" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "pets.txt" }
]
instance_group { kind: KIND_CPU count: 2 }
parameters: { key: "note" value: < string_value: "one " 'text' > }
"""


def empty(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["model.onnx"], "model.onnx"),
        (["onnx/model.onnx"], "onnx/model.onnx"),
        (["inference.onnx"], "inference.onnx"),
        (["net.onnx"], "net.onnx"),
        (["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"], "onnx/model.onnx"),
        (["model.onnx", "onnx/model.onnx"], "model.onnx"),
    ],
)
def test_the_usual_file_is_taken_and_others_are_told(tmp_path: Path, files: list[str], chosen: str) -> None:
    found = find_models(empty(tmp_path / "net", *files))
    assert [model.file for model in found] == [tmp_path / "net" / chosen]
    assert (found[0].name, found[0].folder) == ("net", tmp_path / "net")
    assert bool(found[0].notes) == (len(files) > 1)
    assert all(name in found[0].notes[0] for name in files if len(files) > 1)


def test_several_files_of_which_none_is_usual_are_asked_about(tmp_path: Path) -> None:
    folder = empty(tmp_path / "net", "small.onnx", "large.onnx")
    with pytest.raises(OptionMismatch, match=r"name one with --file: large.onnx, small.onnx"):
        find_models(folder)
    assert find_models(folder, "small.onnx")[0].file == folder / "small.onnx"
    with pytest.raises(OptionMismatch, match=r"--file none.onnx: no such file in .*it holds large.onnx, small.onnx"):
        find_models(folder, "none.onnx")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (".", f"models--google--vit-tiny/snapshots/{COMMIT}/onnx/model.onnx"),
        ("models--google--vit-tiny/snapshots", f"{COMMIT}/onnx/model.onnx"),
    ],
)
def test_a_folder_above_the_models_is_answered_with_those_below_it(tmp_path: Path, path: str, shown: str) -> None:
    hub_cache(tmp_path)
    with pytest.raises(OptionMismatch, match=f"nor in onnx/; name one of those below it: {shown}"):
        find_models(tmp_path / path)


def test_a_bundle_is_told_from_a_model_folder(tmp_path: Path) -> None:
    with pytest.raises(OptionMismatch, match="a bundle already"):
        find_models(empty(tmp_path, "bundle.json", "forward.onnx"))


def test_the_config_of_optimum_s_inner_folder_lies_above(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "net", {"labels.txt": "\n".join(CLASSES)}, at="onnx/model.onnx")
    assert find_models(folder / "onnx")[0].folder == folder
    assert find_models(folder / "onnx")[0].name == "net"


# ── the cache of the Hugging Face hub ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("inside", [".", f"snapshots/{COMMIT}"])
def test_a_snapshot_of_the_hub_is_found_and_its_linked_weights_are_read(tmp_path: Path, inside: str) -> None:
    repository = hub_cache(tmp_path)
    found = find_models(repository / inside)[0]
    assert found.name == "vit-tiny"
    assert resolved(repository / inside).options.labels == CLASSES
    assert len(read_model(found.file).graph.initializer[0].raw_data) == 5 * 3 * 3 * 3 * 4


def test_a_link_that_leads_elsewhere_is_still_refused(tmp_path: Path) -> None:
    repository = hub_cache(tmp_path)
    data = repository / f"snapshots/{COMMIT}/onnx/model.onnx_data"
    secret = tmp_path / "secret"
    secret.write_bytes(data.read_bytes())
    data.unlink()
    data.symlink_to(secret)
    with pytest.raises(InvalidModel, match="lies outside the model's folder"):
        read_model(find_models(repository)[0].file)


# ── Triton ────────────────────────────────────────────────────────────────────────────────────────


def repository(folder: Path, versions: tuple[int, ...] = (1,)) -> Path:
    model = folder_with(folder / "pets", {"config.pbtxt": CONFIG, "pets.txt": "\n".join(CLASSES)})
    for version in versions:
        (model / str(version)).mkdir()
        onnx.save(network(outputs=["flat", "scores"]), model / str(version) / "model.onnx")
    (model / "model.onnx").unlink()
    return folder


@pytest.mark.parametrize("inside", [".", "pets"])
def test_a_triton_model_has_its_versions_in_order(tmp_path: Path, inside: str) -> None:
    found = find_models(repository(tmp_path, (10, 2, 1)) / inside)
    assert [(model.name, model.version) for model in found] == [("pets", "1"), ("pets", "2"), ("pets", "10")]


def test_config_pbtxt_states_output_labels_layout_and_size(tmp_path: Path) -> None:
    found = resolved(repository(tmp_path), mean=(0.0,), std=(1.0,))
    assert (found.options.output, found.options.labels) == ("scores", CLASSES)
    assert (found.options.layout, found.options.size) == ("nchw", (32, 48))
    assert found.sources["size"] == "config.pbtxt: input.dims"
    assert found.sources["labels"] == "pets.txt (config.pbtxt: label_filename)"


def test_a_repository_of_several_models_is_asked_about(tmp_path: Path) -> None:
    repository(tmp_path)
    empty(tmp_path, "others/config.pbtxt")
    with pytest.raises(OptionMismatch, match=r"a repository of 2 models; name the folder of one \(others, pets\)"):
        find_models(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input [ {", "it is not protobuf's text form"),
        ('name: "a', "it is not protobuf's text form"),
        ("{" * 99, "it is not protobuf's text form"),
        ("a " + "{ a " * 99, "it is not protobuf's text form"),
        ('platform: "ensemble"', "an ensemble has no graph"),
        ("max_batch_size: 1", "no version of it holds model.onnx"),
    ],
)
def test_a_config_that_describes_no_onnx_model_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.pbtxt").write_text(text)
    with pytest.raises(OptionMismatch, match=words):
        find_models(tmp_path)


# ── files of labels ───────────────────────────────────────────────────────────────────────────────

SYNSETS = "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn02084071 dog\n"
TOLD_APART = ("tench, Tinca tinca", "crane (1)", "crane (2)", "dog")


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("labels.txt", "\n".join(CLASSES), CLASSES),
        ("classes.txt", "\n".join(CLASSES), CLASSES),
        ("labels.json", json.dumps(CLASSES), CLASSES),
        ("class_indices.json", json.dumps({"dog": 3, "ant": 0, "bee": 1, "cat": 2}), CLASSES),
        ("class_indices.json", json.dumps({str(n): ["n01", label] for n, label in enumerate(CLASSES)}), CLASSES),
        ("index_to_name.json", json.dumps({str(n): label for n, label in enumerate(CLASSES)}), CLASSES),
        ("synset.txt", SYNSETS, TOLD_APART),
    ],
)
def test_files_of_labels_are_read(tmp_path: Path, name: str, content: str, labels: tuple[str, ...]) -> None:
    found = resolved(folder_with(tmp_path, {name: content}), mean=(0.0,), std=(1.0,), size=(8, 8))
    assert (found.options.labels, found.sources["labels"]) == (labels, name)


def test_files_of_labels_that_disagree_are_asked_about(tmp_path: Path) -> None:
    files = {"labels.txt": "\n".join(CLASSES), "classes.txt": "a\nb\nc\nd"}
    with pytest.raises(OptionMismatch, match=r"labels.txt and classes.txt name different classes; choose one"):
        resolved(folder_with(tmp_path, files), mean=(0.0,), std=(1.0,), size=(8, 8))


@pytest.mark.parametrize("content", ["{", '{"ant": 1, "bee": 2}', '{"0": 3.5, "1": "b"}', '{"a": "b"}'])
def test_a_map_that_numbers_no_classes_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(OptionMismatch, match=r"class_indices.json: it .*say --labels"):
        resolved(folder_with(tmp_path, {"class_indices.json": content}), mean=(0.0,), std=(1.0,), size=(8, 8))
