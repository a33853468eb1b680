"""`python -m export onnx`: every refusal is one line, leaves the exit status 2 and nothing on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from export.__main__ import main
from tests.export.importing.graphs import body, classifier, node, saved

WHOLE = ["--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25"]
EXTERNAL = {"save_as_external_data": True, "all_tensors_to_one_file": True, "location": "w.bin", "size_threshold": 0}


def imports(path: Path, folder: Path, flags: Sequence[str] = (), labels: str = "ant\nbee\ncat\ndog\n") -> int:
    (folder / "labels.txt").write_text(labels)
    named = ["--name", "stranger", "--labels", str(folder / "labels.txt"), "--out", str(folder / "bundles")]
    return main(["onnx", str(path), *named, *WHOLE, *flags])


def truncated(folder: Path) -> Path:
    path = saved(classifier(), folder)
    path.write_bytes(path.read_bytes()[:600])
    return path


def a_picture(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    return path


def a_pointer(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    return path


def with_activation(operator: str, domain: str = "") -> ModelProto:
    nodes = body()
    nodes[1] = node(operator, ["y"], ["r"], "odd", domain=domain)
    return classifier(nodes, domains=[domain] if domain else [])


def of_determinants() -> ModelProto:
    """The determinant of each channel, which has no rule, in place of its mean."""
    conv, head = body()[0], body()[-1]
    return classifier([conv, node("Det", ["y"], ["flat"], "odd"), head])


def without_external_data(folder: Path) -> Path:
    path = saved(classifier(), folder, **EXTERNAL)
    (folder / "w.bin").unlink()
    return path


def with_escaping_path(folder: Path) -> Path:
    path = saved(classifier(), folder, **EXTERNAL)
    model = ModelProto.FromString(path.read_bytes())
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = "../secret.bin"
    path.write_bytes(model.SerializeToString())
    return path


def in_bytes(folder: Path) -> Path:
    eight = [node("QuantizeLinear", ["image", "step"], ["q"]), node("Not", ["q"], ["n"], "odd")]
    nodes = [*eight, node("DequantizeLinear", ["n", "step"], ["x"]), *body()]
    nodes[3].input[0] = "x"
    return saved(classifier(nodes, constants={"step": np.array(0.1, np.float32)}), folder)


REFUSED: dict[str, tuple[Any, str]] = {
    "truncated": (truncated, "truncated or damaged"),
    "not ONNX": (a_picture, "not an ONNX file"),
    "no such file": (lambda folder: folder / "model.onnx", "there is no such file or folder"),
    "an operator without a rule": (lambda folder: saved(of_determinants(), folder), "Det (node 'odd')"),
    "a foreign operator": (lambda folder: saved(with_activation("Warp", "mine"), folder), "mine::Warp (node 'odd')"),
    "an operator that does not exist": (lambda folder: saved(with_activation("Smelu"), folder), "Smelu (node 'odd')"),
    "no external data": (without_external_data, "'w.bin' is missing"),
    "a path that escapes": (with_escaping_path, "lies outside the model's folder"),
    "int8": (in_bytes, "Not (node 'odd'): it computes with 8-bit integers in a way that is not known here"),
    "any size": (lambda folder: saved(classifier(image=("N", 3, "H", "W")), folder), "--size HEIGHT,WIDTH"),
    "an empty folder": (lambda folder: folder, "there is no .onnx file in it"),
    "a Git LFS pointer": (a_pointer, "a Git LFS pointer"),
    "no outputs": (lambda folder: saved(classifier(outputs=[]), folder), "the model declares no outputs"),
    "two outputs": (lambda folder: saved(classifier(outputs=["y", "r"]), folder), "with --output: y (["),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_is_one_line_and_leaves_nothing(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, words = REFUSED[fault]
    folder = tmp_path / "model"
    folder.mkdir()
    assert imports(made(folder), tmp_path) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert not list((tmp_path / "bundles").rglob("*"))


@pytest.mark.parametrize(
    ("model", "flags", "recorded"),
    [
        (classifier(), ["--scale", "255", "--channels", "bgr"], {"scale": 255.0, "channel_order": "bgr"}),
        (classifier(), ["--resize", "8", "--crop", "6"], {"resize": 8, "height": 6, "width": 6}),
        (classifier(image=("N", 3, "H", "W")), ["--size", "8,10"], {"height": 8, "width": 10}),
        (classifier(outputs=["scores", "flat"]), ["--output", "scores"], {"layout": "nchw"}),
    ],
    ids=["scale and channels", "resize and crop", "size", "output"],
)
def test_flags_are_in_the_bundle_s_record(
    tmp_path: Path, model: ModelProto, flags: list[str], recorded: dict[str, Any]
) -> None:
    assert imports(saved(model, tmp_path), tmp_path, flags) == 0
    bundle = json.loads((tmp_path / "bundles/stranger/bundle.json").read_text())
    assert {name: bundle["input"][name] for name in recorded} == recorded
    assert bundle["labels"] == ["ant", "bee", "cat", "dog"]
    assert "imported from model.onnx, written by by hand" in bundle["notes"]


def test_without_onnx_runtime_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    flags = ["--name", "stranger", "--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "bundles"), *WHOLE]
    arguments = ["onnx", str(saved(classifier(), tmp_path)), *flags]
    code = (
        f"import sys; sys.modules['onnxruntime'] = None; from export.__main__ import main; sys.exit(main({arguments}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'contraflow[cpu]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_layout_that_the_sizes_leave_open_is_said_by_its_flag(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), *body()]
    nodes[1].input[0] = "x"
    path = saved(classifier(nodes, image=("N", 3, 6, 3)), tmp_path)
    assert imports(path, tmp_path, ["--layout", "nhwc"]) == 0
    record = json.loads((tmp_path / "bundles/stranger/bundle.json").read_text())["input"]
    assert (record["layout"], record["height"], record["width"]) == ("nhwc", 3, 6)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "8"], "argument --size: '8': HEIGHT,WIDTH is needed"),
        (["--size", "0,8"], "argument --size: '0': a positive whole number is needed"),
        (["--crop", "six"], "argument --crop: 'six': a positive whole number is needed"),
        (["--mean", "a,b,c"], "argument --mean: 'a,b,c': numbers with commas between are needed"),
        (["--scale", "3"], "argument --scale: invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_malformed_flag_says_what_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        imports(saved(classifier(), tmp_path), tmp_path, flags)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "bundles").exists()


def test_negative_means_are_recorded(tmp_path: Path) -> None:
    """The last of a repeated flag counts."""
    flags = ["--mean", "-1,-1,-1", "--std", "2"]
    assert imports(saved(classifier(), tmp_path), tmp_path, flags) == 0
    record = json.loads((tmp_path / "bundles/stranger/bundle.json").read_text())["input"]
    assert (record["mean"], record["std"]) == ([-1.0] * 3, [2.0] * 3)


def test_units_of_0_to_255_are_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"]
    assert imports(saved(classifier(), tmp_path), tmp_path, flags) == 2
    said = capsys.readouterr().err
    assert "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225" in said
    assert "--scale 255" in said
    assert not (tmp_path / "bundles").exists()
    assert imports(saved(classifier(), tmp_path), tmp_path, [*flags, "--scale", "255"]) == 0
    record = json.loads((tmp_path / "bundles/stranger/bundle.json").read_text())
    assert record["input"]["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert (record["input"]["std"], record["input"]["scale"]) == ([58.395, 57.12, 57.375], 255.0)
    assert any("taken as in 0…255" in note for note in record["notes"])


def test_labels_of_another_model_are_refused_with_their_file_and_the_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imports(saved(classifier(), tmp_path), tmp_path, labels="ant\nbee\ncat\n") == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/model.onnx: --labels labels.txt names 3 classes, but the model has 4: say --labels with a "
        "file of 4 labels, one a line, or leave --labels out (without labels, classes are called by number)\n"
    )


def test_labels_with_a_byte_order_mark_have_none(tmp_path: Path) -> None:
    assert imports(saved(classifier(), tmp_path), tmp_path, labels="\ufeffant\r\nbee\r\ncat\r\ndog\r\n") == 0
    assert json.loads((tmp_path / "bundles/stranger/bundle.json").read_text())["labels"] == ["ant", "bee", "cat", "dog"]


def test_a_label_twice_is_refused_with_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imports(saved(classifier(), tmp_path), tmp_path, labels="ant\nbee\ncat\nbee\n") == 2
    assert "lines 2 and 4 are both 'bee'" in capsys.readouterr().err


def test_weights_of_nan_are_imported_with_a_note_that_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verdict says what they do; a refusal would hide it."""
    constants = {"conv.bias": np.array([0, np.nan, 0, 0, 0], np.float32)}
    assert imports(saved(classifier(constants=constants), tmp_path), tmp_path) == 0
    assert "numbers that are NaN or infinite are stored in 'conv.bias' (1 of 5)" in capsys.readouterr().out
