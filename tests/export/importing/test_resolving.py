"""Flags, presets, folders and files: which of them counts, what is asked for, and the pixels that follow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from PIL import Image

from export.__main__ import main, with_negative_values
from export.importing import OptionMismatch
from export.importing.file.image import image_input
from export.importing.file.reading import parsed
from export.importing.flags.arguments import add_options, stated_by_flags
from export.importing.flags.presets import MEANINGS, PRESETS
from export.importing.folders.finding import find_models
from export.importing.folders.stated import facts_of
from export.importing.provenance import settled_values
from export.importing.resolving import Resolved, flag_statements, resolve
from service.contract.bundle_schema import InputSpec
from tests.export.importing.folders.producers import CLASSES, folder_with, network, picture, spec_of, tensor

PIXELS = ["--mean", "0.5", "--std", "0.25"]
HALVES = {"image_processor_type": "ViTImageProcessor", "size": 32, "resample": 3}
FILES = {"config.json": {"id2label": dict(enumerate(CLASSES))}, "preprocessor_config.json": HALVES}


def told(path: Path, *words: str) -> Resolved:
    """Return what is resolved from a path and the words of a command line."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = parser.parse_args(with_negative_values([str(path), *words]))
    flags = flag_statements(stated_by_flags(options), options.preprocessing, PRESETS.get(options.preprocessing, {}))
    found = find_models(path)[0]
    return resolve(found, facts_of(found.file, parsed(found.file)), flags)


def spec(path: Path, *words: str) -> InputSpec:
    return image_input(parsed(find_models(path)[0].file), told(path, *words).options).spec


def bare(folder: Path, size: tuple[int, int] | None = (32, 32), **changes: Any) -> Path:
    path = folder / "net.onnx"
    onnx.save(network(size, **changes), path)
    return path


# ── precedence ────────────────────────────────────────────────────────────────────────────────────


def test_flags_count_before_the_folder_and_the_folder_before_the_file(tmp_path: Path) -> None:
    metadata = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    folder = folder_with(tmp_path, FILES, network((32, 32), metadata))
    assert spec(folder).channel_order == "rgb"
    assert (spec(folder).scale, spec(folder).mean) == (1.0, (0.5,) * 3)
    assert spec(folder, "--mean", "0.1").mean == (0.1,) * 3
    assert spec(folder, "--mean", "0.1").std == (0.5,) * 3
    found = told(folder, "--interpolation", "lanczos", "--mean", "0.1")
    assert found.sources["interpolation"] == "--interpolation"
    assert found.sources["std"] == "ViTImageProcessor's default"
    (tmp_path / "preprocessor_config.json").unlink()
    assert (spec(folder).channel_order, spec(folder).scale) == ("bgr", 255.0)
    assert told(folder).sources["channels"] == "the file's metadata: Image.BitmapPixelFormat"


def test_a_preset_counts_between_flags_and_folder(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, FILES, network((32, 32)))
    found = spec(folder, "--preprocessing", "imagenet", "--std", "0.2")
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.2,) * 3)
    assert (found.resize, found.resize_side, found.interpolation) == (36, "shorter", "bilinear")
    assert told(folder, "--preprocessing", "imagenet").sources["mean"] == "--preprocessing imagenet"


def test_mean_and_std_of_flags_are_not_scaled_by_the_folder(tmp_path: Path) -> None:
    given = {**HALVES, "do_rescale": False, "do_normalize": False}
    folder = folder_with(tmp_path, {**FILES, "preprocessor_config.json": given}, network((32, 32)))
    assert spec(folder).scale == 255.0
    assert spec(folder, *PIXELS).scale == 1.0


# ── what is missing is asked for, all at once ─────────────────────────────────────────────────────


def question(path: Path, *words: str) -> str:
    with pytest.raises(OptionMismatch) as caught:
        told(path, *words)
    return str(caught.value)


def test_everything_that_nobody_states_is_asked_for_in_one_message(tmp_path: Path) -> None:
    words = question(bare(tmp_path, None))
    assert "says --mean, --std, --size HEIGHT,WIDTH" in words
    assert all(f"{name} ({meaning})" in words for name, meaning in MEANINGS.items())
    assert "\n" not in words
    assert "--mean, --std." in question(bare(tmp_path))
    assert "nothing in it says --std." in question(bare(tmp_path), "--mean", "0.5")
    assert "--preprocessing" not in question(bare(tmp_path, None), *PIXELS)


def test_a_folder_around_a_bare_file_is_pointed_at(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, FILES, network((32, 32)), at="onnx/model.onnx")
    assert f"name {folder} instead" in question(folder / "onnx" / "model.onnx")


def test_nothing_is_asked_of_a_file_that_takes_pixels_as_they_are(tmp_path: Path) -> None:
    found = told(bare(tmp_path, element=TensorProto.UINT8))
    assert (found.options.mean, found.options.std, found.options.scale) == ((0.0,), (1.0,), 255.0)
    assert found.sources["mean"] == "the file takes pixels of 0…255 as whole numbers"


def test_the_command_asks_in_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onnx", str(bare(tmp_path)), "--out", str(tmp_path / "bundles")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "--preprocessing" in said.err
    assert not (tmp_path / "bundles").exists()


def test_the_help_says_what_each_preset_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["onnx", "--help"])
    said = capsys.readouterr().out
    assert all(meaning in said for meaning in MEANINGS.values())
    assert set(MEANINGS) == set(PRESETS)


# ── presets and flags are what the field means by them ────────────────────────────────────────────


def of_keras(pixels: Any, mode: str) -> Any:
    """`keras.applications.imagenet_utils.preprocess_input` of float32 [h, w, 3]."""
    if mode == "caffe":
        return pixels[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    return pixels / 127.5 - 1 if mode == "tf" else (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


@pytest.mark.parametrize("preset", ["caffe", "tf", "imagenet"])
def test_presets_of_keras_have_its_numbers(tmp_path: Path, preset: str) -> None:
    made = tensor(picture(32, 32), spec(bare(tmp_path), "--preprocessing", preset, "--resize", "32"))
    theirs = of_keras(np.asarray(picture(32, 32), np.float32), {"imagenet": "torch"}.get(preset, preset))
    np.testing.assert_allclose(made, theirs.transpose(2, 0, 1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--preprocessing", "imagenet"], (36, "shorter", "bilinear")),
        (["--preprocessing", "inception"], (36, "shorter", "bicubic")),
        (["--preprocessing", "clip"], (32, "shorter", "bicubic")),
        (["--preprocessing", "unit"], (None, None, "bilinear")),
        ([*PIXELS], (None, None, "bilinear")),
        ([*PIXELS, "--resize", "40"], (40, "shorter", "bilinear")),
        ([*PIXELS, "--resize", "40,44", "--interpolation", "box"], ((40, 44), None, "box")),
        ([*PIXELS, "--resize", "32,32"], (None, None, "bilinear")),
        ([*PIXELS, "--crop-fraction", "0.9"], (35, "shorter", "bilinear")),
        ([*PIXELS, "--letterbox"], (32, "longer", "bilinear")),
        ([*PIXELS, "--letterbox", "--resize", "28"], (28, "longer", "bilinear")),
        (["--preprocessing", "imagenet", "--resize", "32,32"], (None, None, "bilinear")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_resize_can_be_said(tmp_path: Path, words: list[str], expected: Any) -> None:
    found = spec(bare(tmp_path), *words)
    assert (found.resize, found.resize_side, found.interpolation) == expected


@pytest.mark.parametrize("size", [(31, 17), (40, 93), (32, 32), (7, 300)])
def test_a_letterbox_holds_the_whole_picture_in_its_middle(tmp_path: Path, size: tuple[int, int]) -> None:
    found = spec(bare(tmp_path), "--preprocessing", "unit", "--letterbox", "--fill", "10,200,30")
    width, height = (round(side * 32 / max(size)) for side in size)
    image = picture(*size).resize((max(1, width), max(1, height)), Image.Resampling.BILINEAR)
    ground = Image.new("RGB", (32, 32), (10, 200, 30))
    ground.paste(image, ((32 - image.width) // 2, (32 - image.height) // 2))
    made = tensor(picture(*size), found)
    np.testing.assert_allclose(made, np.asarray(ground, np.float32).transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "longer", "said"),
    [
        (["--letterbox"], 224, "the longer side to 224, then padded with 0,0,0 (--letterbox)"),
        (
            ["--letterbox", "--resize", "192", "--fill", "114"],
            192,
            "the longer side to 192, then padded with 114,114,114 (--letterbox --resize)",
        ),
        (
            ["--letterbox", "--resize", "256"],
            256,
            "the longer side to 256, then the middle, padded with 0,0,0 (--letterbox --resize)",
        ),
        (
            ["--letterbox", "--crop-fraction", "0.875"],
            256,
            "the longer side to 256, then the middle, padded with 0,0,0 (--letterbox --crop-fraction)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_letterbox_takes_the_place_of_a_preset_s_resize(
    tmp_path: Path, words: list[str], longer: int, said: str
) -> None:
    """Compare with docs/reference/importing.md on 640 x 480: mean, std and interpolation stay the preset's."""
    found = told(bare(tmp_path, (224, 224)), "--preprocessing", "imagenet", *words)
    made = spec(bare(tmp_path, (224, 224)), "--preprocessing", "imagenet", *words)
    assert settled_values(made, CLASSES, found.sources)["resize"] == said
    small = picture(640, 480).resize((longer, longer * 480 // 640), Image.Resampling.BILINEAR)
    ground = Image.new("RGB", (224, 224), made.fill)
    ground.paste(small, ((224 - small.width) // 2, (224 - small.height) // 2))  # what lies outside is cut off
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (np.asarray(ground, np.float64) / 255 - mean) / std
    np.testing.assert_allclose(tensor(picture(640, 480), made), expected.transpose(2, 0, 1), atol=1e-5)


def test_points_are_sampled_where_antialiasing_is_off(tmp_path: Path) -> None:
    assert spec(bare(tmp_path), *PIXELS, "--no-antialias").antialias is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fill", "3"], "only --letterbox pads"),
        (["--letterbox", "--resize", "3,4"], "--resize must be one number"),
        (["--resize", "30"], "nothing of 32 x 32 can be cropped from it"),
        (["--resize", "40,30"], "--resize 40,30: nothing of 32 x 32 can be cropped"),
        (["--size", "8,8"], "--size says 8 x 8 where the model is fixed to 32 x 32"),
        (["--no-antialias", "--interpolation", "lanczos"], "cannot be had with antialias false"),
    ],
)
def test_flags_that_contradict_each_other_or_the_file_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(OptionMismatch, match=said):
        spec(bare(tmp_path), *PIXELS, *words)


def test_channels_last_of_an_open_size_is_prepared_too(tmp_path: Path) -> None:
    assert spec_of(folder_with(tmp_path, FILES)).height == 32
