"""timm's folders, against timm's own transform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.coverage.architectures.from_torchvision import torchvision_models

torchvision_models()  # or timm could not import torchvision

import timm.data  # noqa: E402

from export.importing import OptionMismatch  # noqa: E402
from tests.export.importing.folders.producers import (  # noqa: E402
    CLASSES,
    SIZES,
    folder_with,
    network,
    picture,
    resolved,
    spec_of,
    tensor,
)

data: Any = timm.data
timm_transform, resolve = data.create_transform, data.resolve_data_config

CFG: dict[str, Any] = {
    "tag": "a1_in1k", "input_size": [3, 160, 160], "fixed_input_size": False, "interpolation": "bicubic",
    "crop_pct": 0.95, "crop_mode": "center", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "nothing said": dict.fromkeys(set(CFG) - {"tag"}),
    "bilinear, all of it": {"interpolation": "bilinear", "crop_pct": 1.0},
    "lanczos": {"interpolation": "lanczos", "crop_pct": 0.875},
    "nearest": {"interpolation": "nearest", "crop_mode": "squash"},
    "an odd crop": {"input_size": [3, 97, 97], "crop_pct": 0.9},
    "no square": {"input_size": [3, 128, 96], "crop_pct": 0.9},
    "squash": {"crop_mode": "squash", "crop_pct": 0.9},
    "squash, all of it": {"crop_mode": "squash", "crop_pct": 1.0},
    "squash, no square": {"crop_mode": "squash", "input_size": [3, 96, 130]},
    "border": {"crop_mode": "border", "crop_pct": 1.0},
    "border, and cropped": {"crop_mode": "border", "crop_pct": 0.9, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "border, no square": {"crop_mode": "border", "crop_pct": 0.95, "input_size": [3, 121, 160]},
}


def config(**changes: Any) -> dict[str, Any]:
    cfg = {key: value for key, value in {**CFG, **changes}.items() if value is not None}
    return {"architecture": "resnet18", "num_classes": 4, "pretrained_cfg": cfg}


@pytest.mark.parametrize("name", CASES)
def test_the_tensor_is_that_of_timm_s_transform(tmp_path: Path, name: str) -> None:
    written = config(**CASES[name])
    spec = spec_of(folder_with(tmp_path, {"config.json": written}))
    transform = timm_transform(**resolve(pretrained_cfg=written["pretrained_cfg"]))
    for size in SIZES:
        theirs = transform(picture(*size)).numpy()
        np.testing.assert_allclose(tensor(picture(*size), spec), theirs, atol=1e-6, err_msg=str(size))


@pytest.mark.parametrize("fixed", [160, 192])
def test_the_size_that_the_file_is_fixed_to_says_which_of_timm_s_two_is_meant(tmp_path: Path, fixed: int) -> None:
    written = config(test_input_size=[3, 192, 192], test_crop_pct=1.0)
    spec = spec_of(folder_with(tmp_path, {"config.json": written}, network((fixed, fixed))))
    cfg = resolve(pretrained_cfg=written["pretrained_cfg"], use_test_size=fixed == 192)
    transform = timm_transform(**cfg)
    for size in SIZES[:2]:
        np.testing.assert_allclose(tensor(picture(*size), spec), transform(picture(*size)).numpy(), atol=1e-6)


def test_a_file_of_any_size_gets_the_input_size_and_a_note_on_the_other(tmp_path: Path) -> None:
    found = resolved(folder_with(tmp_path, {"config.json": config(test_input_size=[3, 192, 192])}))
    assert found.options.size == (160, 160)
    assert any("test_input_size of [3, 192, 192]" in note for note in found.notes)


def test_labels_are_named_by_their_descriptions(tmp_path: Path) -> None:
    names = {"label_names": ["n01", "n02", "n03", "n04"], "label_descriptions": {"n01": "tench", "n03": "shark"}}
    found = resolved(folder_with(tmp_path, {"config.json": {**config(), **names}}))
    assert found.options.labels == ("tench", "n02", "shark", "n04")
    in_cfg = {**config(label_names=list(CLASSES))}
    assert resolved(folder_with(tmp_path, {"config.json": in_cfg})).options.labels == CLASSES


def test_the_first_form_of_the_config_is_read(tmp_path: Path) -> None:
    spec = spec_of(folder_with(tmp_path, {"config.json": {"architecture": "resnet18", **CFG}}))
    assert (spec.height, spec.resize, spec.interpolation) == (160, 168, "bicubic")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop_mode": "magic"}, "crop_mode is 'magic'"),
        ({"interpolation": "random"}, "interpolation is 'random'"),
        ({"input_size": [224, 224]}, r"input_size is \[224, 224\]"),
        ({"mean": "grey"}, "mean is 'grey'"),
        ({"crop_pct": -1}, "crop_pct is -1"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionMismatch, match=words):
        resolved(folder_with(tmp_path, {"config.json": config(**changes)}))
