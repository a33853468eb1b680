"""Model folders through the command line, and the bundles that come of them: names, versions, sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from export.__main__ import main
from service.bundles.disk import BundleRefused, read_bundle
from service.bundles.folder import look_at
from tests.export.importing.folders.producers import CLASSES, folder_with, network

VIT = {
    "config.json": {"model_type": "vit", "id2label": dict(enumerate(CLASSES))},
    "preprocessor_config.json": {"image_processor_type": "ViTImageProcessor", "size": 12},
}
ULTRALYTICS = {"task": "classify", "imgsz": "[12, 12]", "names": str(dict(enumerate(CLASSES)))}


def imports(path: Path, out: Path, *flags: str) -> int:
    return main(["onnx", str(path), "--out", str(out), *flags])


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())  # type: ignore[no-any-return]


def vit(folder: Path) -> Path:
    return folder_with(folder / "my vit", VIT, network((12, 12)))


def test_a_folder_that_says_it_all_needs_no_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert imports(vit(tmp_path), tmp_path / "bundles") == 0
    bundle = record(tmp_path / "bundles/my-vit")
    assert bundle["labels"] == list(CLASSES)
    assert bundle["input"]["mean"] == [0.5] * 3
    sources = bundle["provenance"]
    assert sources["labels"] == "4: ant, … dog (config.json: id2label)"
    assert sources["size"] == "12 x 12 (preprocessor_config.json: size)"
    assert sources["resize"] == "stretched to 12 x 12 (preprocessor_config.json: size)"
    said = capsys.readouterr().out
    assert all(value in said for value in sources.values())


def test_a_file_that_says_it_all_needs_no_flag(tmp_path: Path) -> None:
    onnx.save(network((12, 12), ULTRALYTICS), tmp_path / "flowers.onnx")
    assert imports(tmp_path / "flowers.onnx", tmp_path / "bundles") == 0
    assert record(tmp_path / "bundles/flowers")["labels"] == list(CLASSES)


TIMM = {
    "architecture": "resnet",
    "pretrained_cfg": {"input_size": [3, 12, 12], "crop_pct": 1.0},
    "label_names": CLASSES,
}
PADDLE = """
PreProcess: {transform_ops: [ResizeImage: {resize_short: 14}, CropImage: {size: 12}, NormalizeImage: {order: ''}]}
PostProcess: {Topk: {topk: 5, label_list: [ant, bee, cat, dog]}}
"""
CUSTOM_VISION = {"labels.txt": "\n".join(CLASSES), "cvexport.manifest": {"ExporterVersion": "2.1"}}
BGR = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
KINDS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "timm": ({"config.json": TIMM}, {}, {"resize": 12, "interpolation": "bicubic"}),
    "PaddlePaddle": ({"inference.yml": PADDLE}, {}, {"resize": 14, "antialias": False, "resize_rounding": "even"}),
    "Custom Vision": (CUSTOM_VISION, BGR, {"channel_order": "bgr", "scale": 255.0, "interpolation": "bicubic"}),
    "ONNX's own metadata": ({"labels.txt": "\n".join(CLASSES)}, BGR, {"channel_order": "bgr", "scale": 255.0}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_folder_becomes_a_bundle_without_a_flag(tmp_path: Path, kind: str) -> None:
    files, metadata, expected = KINDS[kind]
    folder = folder_with(tmp_path / "net", files, network((12, 12), metadata))
    assert imports(folder, tmp_path / "bundles") == 0
    bundle = record(tmp_path / "bundles/net")
    assert bundle["labels"] == list(CLASSES)
    assert {name: bundle["input"][name] for name in expected} == expected
    assert read_bundle(tmp_path / "bundles/net").bundle.provenance == bundle["provenance"]


def test_labels_of_a_folder_that_fit_another_model_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {**VIT, "config.json": {"id2label": {"0": "a", "1": "b"}, "problem_type": "single_label_classification"}}
    assert imports(folder_with(tmp_path / "net", files, network((12, 12))), tmp_path / "bundles") == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/net: config.json: id2label names 2 classes, but the model has 4: say --labels with a file "
        "of 4 labels, one a line, or correct or remove config.json: id2label (without labels, classes are called by "
        "number)\n"
    )


def test_without_labels_classes_are_called_by_number_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(network((12, 12)), tmp_path / "flowers.onnx")
    assert imports(tmp_path / "flowers.onnx", tmp_path / "bundles", "--preprocessing", "unit") == 0
    assert record(tmp_path / "bundles/flowers")["labels"] == ["0", "1", "2", "3"]
    assert "classes are called by number" in capsys.readouterr().out


def test_a_triton_model_becomes_a_bundle_of_the_same_versions(tmp_path: Path) -> None:
    model = tmp_path / "pets"
    for version in (1, 3):
        (model / str(version)).mkdir(parents=True)
        onnx.save(network((12, 12)), model / str(version) / "model.onnx")
    (model / "labels.txt").write_text("\n".join(CLASSES))
    assert imports(model, tmp_path / "bundles", "--preprocessing", "unit") == 0
    found = sorted(look_at(tmp_path / "bundles").bundles)
    assert found == [tmp_path / "bundles/pets/1", tmp_path / "bundles/pets/3"]
    assert [read_bundle(folder).bundle.version for folder in found] == ["1", "3"]


# ── versions ──────────────────────────────────────────────────────────────────────────────────────


def versions(bundles: Path) -> dict[str, str]:
    """Folder → version of every bundle that the service would find, read whole."""
    found = look_at(bundles).bundles
    return {str(folder.relative_to(bundles)): read_bundle(folder).bundle.version for folder in found}


def test_a_version_lies_in_its_own_folder_beside_the_first(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    assert imports(vit(tmp_path), bundles, "--name", "net") == 0
    assert imports(vit(tmp_path), bundles, "--name", "net", "--version", "2") == 0
    assert versions(bundles) == {"net": "1", "net/2": "2"}


def test_a_version_that_is_there_is_replaced_only_when_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles, source = tmp_path / "bundles", vit(tmp_path)
    assert imports(source, bundles, "--name", "net", "--version", "2") == 0
    before = (bundles / "net/2/bundle.json").stat().st_ino
    assert imports(source, bundles, "--name", "net", "--version", "2") == 2
    assert "version 2 of net is there already; say --replace to replace it, or --version 3" in capsys.readouterr().err
    assert (bundles / "net/2/bundle.json").stat().st_ino == before
    assert imports(source, bundles, "--name", "net", "--version", "2", "--replace") == 0
    assert (bundles / "net/2/bundle.json").stat().st_ino != before
    assert versions(bundles) == {"net/2": "2"}


@pytest.mark.parametrize("flags", [[], ["--version", "1"]])
def test_replacing_the_first_version_keeps_the_others(tmp_path: Path, flags: list[str]) -> None:
    bundles, source = tmp_path / "bundles", vit(tmp_path)
    assert imports(source, bundles, "--name", "net") == 0
    assert imports(source, bundles, "--name", "net", "--version", "2") == 0
    assert imports(source, bundles, "--name", "net", *flags) == 2
    assert imports(source, bundles, "--name", "net", "--replace", *flags) == 0
    assert versions(bundles) == {"net/1": "1", "net/2": "2"}


def test_a_first_version_beside_numbered_ones_gets_a_folder_too(tmp_path: Path) -> None:
    bundles, source = tmp_path / "bundles", vit(tmp_path)
    assert imports(source, bundles, "--name", "net", "--version", "2") == 0
    assert imports(source, bundles, "--name", "net") == 0
    assert versions(bundles) == {"net/1": "1", "net/2": "2"}


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model folder itself, where bundles are written beside it."""
    source = folder_with(tmp_path / "net", VIT, network((12, 12)))
    for flags in ([], ["--replace"]):
        assert imports(source, tmp_path, *flags) == 2
        assert "net is there and is no bundle; choose another --out or --name" in capsys.readouterr().err
    assert (source / "model.onnx").is_file()


def test_a_renamed_folder_is_told_its_name_in_one_sentence(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    assert imports(vit(tmp_path), bundles, "--name", "net", "--version", "2") == 0
    for renamed, now in (("net/2", "net/3"), ("net", "other")):
        (bundles / renamed).rename(bundles / now)
        inside = bundles / now if now == "net/3" else bundles / "other/2"
        with pytest.raises(BundleRefused, match="it is version 2 of net, so its folder must be called net/2 or net"):
            read_bundle(inside)
        (bundles / now).rename(bundles / renamed)


def test_a_file_whose_name_says_nothing_is_called_after_its_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    for name in ("model.onnx", "日本.onnx"):
        onnx.save(network((12, 12), ULTRALYTICS), tmp_path / "pets" / name)
        assert imports(tmp_path / "pets" / name, tmp_path / "bundles", "--replace") == 0
    assert versions(tmp_path / "bundles") == {"pets": "1"}
