"""Mistakes that people make with the command: one sentence that is true and says what to do, and never a traceback."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from contraflow.__main__ import main
from service.output.system_errors import error_in_words
from tests.export.importing.graphs import body, classifier, node

ROOT = Path(__file__).parents[2]
PIXELS = ["--preprocessing", "unit"]
EXPORT = "export the network to ONNX first: "


def of_text() -> ModelProto:
    """A classifier of token numbers."""
    nodes = [
        node("Gather", ["words", "input_ids"], ["embedded"]),
        node("ReduceMean", ["embedded", "axis"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "head"], ["logits"]),
    ]
    stored = {"words": np.ones((50, 8), np.float32), "axis": np.array([1]), "head": np.ones((8, 3), np.float32)}
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def segmentation() -> ModelProto:
    nodes = [body()[0], node("Conv", ["y", "pixelwise"], ["mask"])]
    return classifier(nodes, outputs=["mask"], constants={"pixelwise": np.ones((21, 5, 1, 1), np.float32)})


def content(data: bytes) -> Callable[[Path], object]:
    return lambda place: place.write_bytes(data)


def model(made: Callable[[], ModelProto]) -> Callable[[Path], object]:
    return lambda place: onnx.save(made(), place)


def folder(**files: bytes) -> Callable[[Path], object]:
    """A folder of files; `_` in a name stands for the dot."""

    def make(place: Path) -> None:
        place.mkdir()
        for name, data in files.items():
            (place / name.replace("_", ".")).write_bytes(data)

    return make


def zipped(place: Path) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("net/model.onnx", b"x")


def checkpoint(place: Path) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("net/data.pkl", b"x")


WHOLE = classifier().SerializeToString()
IMPORTED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an empty file": ("net.onnx", content(b""), "it seems to be an empty file"),
    "a checkpoint": ("net.pt", checkpoint, f"it seems to be a PyTorch checkpoint; {EXPORT}"),
    "an archive": ("net.zip", zipped, "a zip archive; unpack it and import net/model.onnx"),
    "a web page": ("net.onnx", content(b"<!doctype html>404"), "a web page, perhaps the answer to a failed download"),
    "half a file": ("net.onnx", content(WHOLE[:600]), "truncated or damaged: 600 bytes end inside the model"),
    "JSON": ("net.onnx", content(b'{"a": 1}'), "it seems to be a JSON file"),
    "a picture": ("cat.png", content(b"\x89PNG\r\n\x1a\n" + bytes(60)), "it seems to be a picture"),
    "a segmentation": ("net.onnx", model(segmentation), "not [N, classes]: no classifier"),
    "a model of text": ("net.onnx", model(of_text), "the model has no image input (float32, four axes); its input is"),
    "a pipe": ("net.onnx", os.mkfifo, "no plain file; name an .onnx file, or the folder of a model"),
    "nothing": ("net.onnx", lambda place: None, "there is no such file or folder"),
    "a link to nothing": (
        "net.onnx",
        lambda place: place.symlink_to("gone"),
        "its symbolic link leads nowhere (to gone)",
    ),
    "pictures": ("net", folder(cat_jpg=b"x"), "there is no .onnx file in it, nor in onnx/; it holds cat.jpg"),
    "an empty folder": ("net", folder(), "there is no .onnx file in it, nor in onnx/; it is empty"),
    "two models": ("net", folder(a_onnx=WHOLE, b_onnx=WHOLE), "name one with --file: a.onnx, b.onnx"),
    "cut JSON": (
        "net",
        folder(net_onnx=WHOLE, config_json=b'{"id2label": {'),
        "config.json: it cannot be read as JSON",
    ),
}


@pytest.mark.parametrize("what", IMPORTED)
def test_what_cannot_be_imported_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    name, make, words = IMPORTED[what]
    make(tmp_path / name)
    assert main(["import", str(tmp_path / name), *PIXELS, "--out", str(tmp_path / "bundles")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {tmp_path}/{name}")
    assert words in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not (tmp_path / "bundles").exists()


LOOKED_AT: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "pictures": ("net", folder(cat_jpg=b"x"), "holds neither a bundle nor an .onnx file, but cat.jpg"),
    "a checkpoint": ("net", folder(net_pt=b"x"), f"but net.pt; {EXPORT}"),
    "an archive": ("net", folder(net_zip=b"x"), "but net.zip; unpack it first"),
    "an empty folder": ("net", folder(), "is an empty folder: name an .onnx file, the folder of a model, or a bundle"),
    "a pipe": ("net.onnx", os.mkfifo, "is neither a folder nor a plain file"),
    "nothing": ("net.onnx", lambda place: None, "there is no file or folder"),
    "a link to nothing": ("net.onnx", lambda place: place.symlink_to("gone"), "its symbolic link leads nowhere"),
}


@pytest.mark.parametrize("what", LOOKED_AT)
@pytest.mark.parametrize("verb", ["check", "diagnose"])
def test_what_cannot_be_judged_is_named_before_anything_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, verb: str
) -> None:
    name, make, words = LOOKED_AT[what]
    make(tmp_path / name)
    named = {"check": ["check", str(tmp_path / name)]}
    named["diagnose"] = ["diagnose", "--bundle", str(tmp_path / name), "--data", str(ROOT), "--out", "report.csv"]
    assert main(named[verb]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert str(tmp_path / name) in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


BUNDLE = str(ROOT / "models" / "bundles" / "resnet20")
WRONG_WORDS: dict[str, tuple[list[str], str]] = {
    "an address": (["import", "https://example.com/net.onnx"], "an address: download the model first"),
    "an address to check": (["check", "https://example.com/net.onnx"], "is an address: download the model first"),
    "import of a bundle": (["import", BUNDLE], "a bundle already; it is served as it is"),
    "an empty name": (["import", "{net}", *PIXELS, "--name", ""], "--name '': up to 64 of A-Z"),
    "a name of other letters": (["import", "{net}", *PIXELS, "--name", "größe"], "--name 'größe': up to 64 of A-Z"),
    "a folder of labels": (["import", "{net}", *PIXELS, "--labels", "{empty}"], "--labels {empty}: cannot be read"),
    "an output that is none": (["import", "{net}", *PIXELS, "--output", "x"], "the model's outputs are scores"),
    "means of four channels": (["import", "{net}", "--mean", "1,2,3,4", "--std", "1"], "--mean has 4 values"),
    "two ways to resize": (["import", "{net}", "--resize", "8", "--crop-fraction", ".5"], "not allowed with argument"),
    "flags for a bundle": (
        ["check", BUNDLE, "--mean", "0"],
        "--mean: flags of one import, but there is nothing to import",
    ),
    "no folder of pictures": (["check", BUNDLE, "--data", "gone"], "gone: no such folder"),
    "a folder without pictures": (["check", BUNDLE, "--data", "{empty}"], "{empty}: there is no image in it"),
    "no pictures at all": (
        ["check", BUNDLE, "--images", "0"],
        "--images: '0': a positive whole number is needed",
    ),
    "fewer than none": (["check", BUNDLE, "--images=-3"], "--images: '-3': a positive whole number is needed"),
    "an unknown threshold": (["check", BUNDLE, "--threshold", "x=1"], "unknown threshold 'x'; known: "),
    "no provider": (["check", BUNDLE, "--execution-provider", "cuda"], "CUDA"),
    "nothing to record": (["record", "gone", "--data", "{empty}"], "there is no folder gone"),
    "nothing to verify": (["verify", "{empty}"], "{empty} is no bundle: a folder that holds bundle.json is needed"),
    "data that are none": (["record", BUNDLE, "--data", "{empty}"], "{empty}: train/<label>/<image> and test"),
    "two versions at once": (["import", "{empty}", "--version", "2"], "{empty}: there is no .onnx file in it"),
}


@pytest.mark.parametrize("what", WRONG_WORDS)
def test_wrong_words_are_answered_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    arguments, words = WRONG_WORDS[what]
    empty = tmp_path / "empty"
    empty.mkdir()
    onnx.save(classifier(), tmp_path / "net.onnx")
    try:
        status = main([word.format(empty=empty, net=tmp_path / "net.onnx") for word in arguments])
    except SystemExit as stopped:
        status = int(str(stopped.code))
    assert status == 2
    said = capsys.readouterr()
    assert words.format(empty=empty) in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_an_error_of_the_system_is_told_without_its_number(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "gone").read_bytes()
    assert error_in_words(raised.value) == f"{tmp_path}/gone: No such file or directory"
    assert error_in_words(OSError("net cannot be written: it is full")) == "net cannot be written: it is full"
    assert error_in_words(ValueError("two labels are needed")) == "two labels are needed"
