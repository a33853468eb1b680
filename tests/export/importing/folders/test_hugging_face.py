"""Folders of transformers, against transformers' own image processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from export.coverage.architectures.from_torchvision import torchvision_models
from export.importing import OptionMismatch
from export.importing.folders.processors import OF_MODEL_TYPE, PROCESSORS
from tests.export.importing.folders.producers import (
    CLASSES,
    SIZES,
    folder_with,
    in_levels,
    network,
    picture,
    resolved,
    spec_of,
    tensor,
)

torchvision_models()  # or transformers could not import torchvision

LABELS = {"model_type": "vit", "id2label": {str(number): label for number, label in enumerate(CLASSES)}}
BYTES = {"do_rescale": False, "image_mean": [123.675, 116.28, 103.53], "image_std": [58.395, 57.12, 57.375]}

CASES: dict[str, dict[str, Any]] = {
    **{f"{name} by default": {"image_processor_type": name} for name in PROCESSORS},
    "ViT of another size": {"image_processor_type": "ViTImageProcessor", "size": {"height": 160, "width": 96}},
    "ViT of one number": {"feature_extractor_type": "ViTFeatureExtractor", "size": 192, "resample": 3},
    "ViT of a list": {"image_processor_type": "ViTImageProcessorFast", "size": [64, 96], "resample": 1},
    "plain pixels": {"image_processor_type": "ViTImageProcessor", "do_normalize": False},
    "pixels of 0…255": {"image_processor_type": "ViTImageProcessor", "do_normalize": False, "do_rescale": False},
    "mean of 0…255": {"image_processor_type": "ViTImageProcessor", **BYTES},
    "another factor": {
        "image_processor_type": "ViTImageProcessor", "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1],
    },
    "a factor as it is written": {"image_processor_type": "ViTImageProcessor", "rescale_factor": 0.00392156862745098},
    "CLIP of one number": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 128, "crop_size": 112},
    "CLIP with an odd crop": {"image_processor_type": "CLIPImageProcessor", "size": 128, "crop_size": 97},
    "CLIP without a crop": {
        "image_processor_type": "CLIPImageProcessor", "size": {"height": 90, "width": 120}, "do_center_crop": False,
    },
    "CLIP, a crop of two sides": {
        "image_processor_type": "CLIPImageProcessor", "size": 160, "crop_size": {"height": 100, "width": 131},
    },
    "ConvNeXT of 224": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}},
    "ConvNeXT, another share": {
        "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 200}, "crop_pct": 0.95,
    },
    "ConvNeXT of one number": {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875},
    "EfficientNet, offset": {
        "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 128, "width": 128},
        "rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False, "do_normalize": False,
    },
    "EfficientNet, twice normalized": {
        "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 128, "width": 128}, "resample": 0,
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.47853944, 0.4732864, 0.47434163],
    },
    "LeViT of two sides": {"image_processor_type": "LevitImageProcessor", "size": {"height": 256, "width": 300}},
    "PoolFormer of two sides": {
        "image_processor_type": "PoolFormerImageProcessor", "size": {"height": 224, "width": 224}, "crop_pct": 0.95,
    },
    "MobileViT": {"image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 288}},
    "Beit with a crop": {
        "image_processor_type": "BeitImageProcessor", "size": {"height": 256, "width": 256}, "do_center_crop": True,
    },
}  # fmt: skip
MOST_LEVELS = {"bilinear": 1.01, "bicubic": 2.01, "lanczos": 2.01}
"""torchvision's own filters of tensors round otherwise than Pillow's; a cubic's weights sum to more than 1."""
UNFIT = {"MobileViTImageProcessor by default"}
"""The class's own default crops 256 pixels of 224; checkpoints say otherwise."""


@pytest.mark.parametrize("name", [name for name in CASES if name not in UNFIT])
def test_the_tensor_is_that_of_the_processor_itself(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path, {"config.json": LABELS, "preprocessor_config.json": CASES[name]})
    spec = spec_of(folder)
    auto: Any = transformers.AutoImageProcessor
    slow, fast = (auto.from_pretrained(folder, backend=backend) for backend in ("pil", "torchvision"))
    for number, size in enumerate(SIZES):
        image = picture(*size)
        ours = tensor(image, spec)
        theirs = slow(image, return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5 * max(1.0, spec.scale), err_msg=str(size))
        if number % 2 and spec.interpolation != "nearest":  # of tensors torchvision takes another nearest pixel
            fast_tensor = fast(image, return_tensors="np")["pixel_values"][0]
            assert in_levels(ours - fast_tensor, spec) < MOST_LEVELS[spec.interpolation], size


def test_the_table_has_the_defaults_of_the_classes() -> None:
    for name, processor in PROCESSORS.items():
        theirs = getattr(transformers, f"{name}Pil")()
        assert bool(type(theirs).default_to_square) == processor.square, name
        for key, value in processor.defaults.items():
            if key == "do_normalize" and not processor.normalizes:
                continue
            found = getattr(theirs, key, None)
            if key in ("size", "crop_size"):
                found = {side: length for side, length in dict(found or {}).items() if length} or None
            if key in ("image_mean", "image_std"):
                found = list(found or ())
            assert (found or None) == (value or None), (name, key)


def test_the_table_of_model_types_is_that_of_transformers() -> None:
    from transformers.models.auto.auto_mappings import IMAGE_PROCESSOR_MAPPING_NAMES

    for model_type, name in OF_MODEL_TYPE.items():
        named = IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type, {}).get("torchvision")
        assert named in (name, None), model_type


def test_without_a_class_the_model_s_type_decides(tmp_path: Path) -> None:
    files = {"config.json": {**LABELS, "model_type": "convnext"}, "preprocessor_config.json": {"size": 224}}
    spec = spec_of(folder_with(tmp_path, files))
    assert (spec.height, spec.width, spec.resize, spec.interpolation) == (224, 224, 256, "bicubic")


def test_a_processor_config_of_several_parts_is_read(tmp_path: Path) -> None:
    part = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    folder = folder_with(tmp_path, {"config.json": LABELS, "processor_config.json": {"image_processor": part}})
    assert spec_of(folder).height == 32


def test_each_value_has_its_source(tmp_path: Path) -> None:
    given = {"image_processor_type": "ViTImageProcessor", "size": 32, "image_mean": [0.1, 0.2, 0.3]}
    found = resolved(folder_with(tmp_path, {"config.json": LABELS, "preprocessor_config.json": given}))
    assert found.options.labels == CLASSES
    assert found.sources["labels"] == "config.json: id2label"
    assert found.sources["size"] == "preprocessor_config.json: size"
    assert found.sources["mean"] == "preprocessor_config.json: image_mean"
    assert found.sources["interpolation"] == "ViTImageProcessor's default"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image_processor_type": "ImageGPTImageProcessor"}, "its image processor ImageGPTImageProcessor is not known"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "do_resize is false"),
        ({"image_processor_type": "ViTImageProcessor", "do_pad": True}, "do_pad pads below"),
        ({"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}, "no one size"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 9}}, "cannot say the size"),
        (
            {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 9, "longest_edge": 12}},
            "cannot say the size",
        ),
        ({"image_processor_type": "ViTImageProcessor", "resample": 9}, "none of Pillow"),
        ({"image_processor_type": "ViTImageProcessor", "size": "large"}, "size is 'large'"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": "a"}, "image_mean is 'a'"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": 8, "crop_pct": 0}, "crop_pct is 0"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:24],
)
def test_what_a_bundle_cannot_say_is_refused(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    folder = folder_with(tmp_path, {"config.json": LABELS, "preprocessor_config.json": given})
    with pytest.raises(OptionMismatch, match=words):
        resolved(folder)
    told = {"mean": (0.5,), "std": (0.5,), "size": (8, 8), "resize_side": None, "interpolation": "bilinear"}
    assert words in " ".join(resolved(folder, **told).notes)


def test_a_size_that_contradicts_the_file_is_refused_and_a_flag_settles_it(tmp_path: Path) -> None:
    given = {"image_processor_type": "ViTImageProcessor", "size": 32}
    files = {"config.json": LABELS, "preprocessor_config.json": given}
    folder = folder_with(tmp_path, files, network((48, 48)))
    with pytest.raises(
        OptionMismatch, match=r"states pictures of 32 x 32, but model.onnx is fixed to 48 x 48.*--size 48,48"
    ):
        resolved(folder)
    assert spec_of(folder, size=(48, 48)).resize is None


def test_labels_that_two_classes_have_are_told_apart(tmp_path: Path) -> None:
    labels = {"0": "crane", "1": "tench", "2": "crane", "3": "dog"}
    given = {"image_processor_type": "ViTImageProcessor", "size": 8}
    found = resolved(folder_with(tmp_path, {"config.json": {"id2label": labels}, "preprocessor_config.json": given}))
    assert found.options.labels == ("crane (0)", "tench", "crane (2)", "dog")
    assert any("told apart" in note for note in found.notes)
