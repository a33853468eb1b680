"""PaddlePaddle's `inference.yml`, against PaddleClas's operators, written out here with OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from export.importing import OptionMismatch
from tests.export.importing.folders.producers import (
    CLASSES,
    SIZES,
    folder_with,
    in_levels,
    picture,
    resolved,
    spec_of,
    tensor,
)

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FILTERS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def paddleclas(image: Image.Image, steps: list[Any]) -> NDArray[np.float32]:
    """The operators of PaddleClas (deploy/python/preprocess.py) on a picture that OpenCV has read."""
    pixels: Any = np.asarray(image)
    for step in steps:
        name, given = next(iter(step.items()))
        if name == "DecodeImage" and not given.get("to_rgb", True):
            pixels = pixels[..., ::-1]
        if name == "ResizeImage":
            height, width = pixels.shape[:2]
            how = FILTERS[given.get("interpolation", "bilinear")]
            if "resize_short" in given:
                percent = float(given["resize_short"]) / min(width, height)
                size = round(width * percent), round(height * percent)
            else:
                size = (given["size"],) * 2 if isinstance(given["size"], int) else tuple(given["size"])
            if given.get("backend") == "pil":
                pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
            else:
                pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=how)
        if name == "CropImage":
            width, height = (given["size"],) * 2 if isinstance(given["size"], int) else given["size"]
            top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
            pixels = pixels[top : top + height, left : left + width]
        if name == "NormalizeImage":
            scale = given.get("scale", 1 / 255)
            scale = np.float32(1 / 255 if isinstance(scale, str) else scale)
            mean, std = (np.float32(given.get(key, default)) for key, default in (("mean", MEAN), ("std", STD)))
            pixels = (pixels.astype(np.float32) * scale - mean) / std
    return np.asarray(pixels).transpose(2, 0, 1)


NORMALIZE = {"NormalizeImage": {"channel_num": 3, "mean": MEAN, "std": STD, "scale": 0.00392156862745098, "order": ""}}
USUAL = [{"ResizeImage": {"resize_short": 128}}, {"CropImage": {"size": 112}}, NORMALIZE, {"ToCHWImage": None}]
CASES: dict[str, list[Any]] = {
    "as it is exported": USUAL,
    "an odd crop": [{"ResizeImage": {"resize_short": 100}}, {"CropImage": {"size": 97}}, NORMALIZE],
    "stretched": [{"ResizeImage": {"size": 96}}, NORMALIZE],
    "stretched to width and height": [{"ResizeImage": {"size": [120, 96]}}, NORMALIZE],
    "cropped to width and height": [
        {"ResizeImage": {"resize_short": 128}},
        {"CropImage": {"size": [120, 96]}},
        NORMALIZE,
    ],
    "BGR": [{"DecodeImage": {"to_rgb": False, "channel_first": False}}, *USUAL],
    "RGB by name": [{"DecodeImage": {"to_rgb": True}}, *USUAL],
    "a fraction in words": [*USUAL[:2], {"NormalizeImage": {"scale": "1.0/255.0", "mean": MEAN, "std": STD}}],
    "pixels of 0…255": [*USUAL[:2], {"NormalizeImage": {"scale": 1, "mean": [123.7, 116.3, 103.5], "std": [58.4] * 3}}],
    "no numbers": [*USUAL[:2], {"NormalizeImage": {"order": ""}}],
    "Pillow": [{"ResizeImage": {"resize_short": 128, "backend": "pil"}}, *USUAL[1:]],
    "bicubic": [{"ResizeImage": {"resize_short": 128, "interpolation": "bicubic"}}, *USUAL[1:]],
}


def inference(steps: list[Any], **processing: Any) -> str:
    return yaml.safe_dump(
        {"Global": {"model_name": "net"}, "PreProcess": {"transform_ops": steps}, "PostProcess": processing}
    )


@pytest.mark.parametrize("name", CASES)
def test_the_tensor_is_that_of_paddleclas_within_a_level(tmp_path: Path, name: str) -> None:
    spec = spec_of(folder_with(tmp_path, {"inference.yml": inference(CASES[name])}, at="inference.onnx"))
    for size in SIZES:
        theirs = paddleclas(picture(*size), CASES[name])
        ours = tensor(picture(*size), spec)
        assert ours.shape == theirs.shape, size
        assert in_levels(ours - theirs, spec) < 1.01, size


def test_labels_come_from_the_list_or_from_the_file_that_is_named(tmp_path: Path) -> None:
    listed = inference(USUAL, Topk={"topk": 5, "label_list": list(CLASSES)})
    found = resolved(folder_with(tmp_path, {"inference.yml": listed}))
    assert found.options.labels == CLASSES
    assert found.sources["labels"] == "inference.yml: Topk.label_list"
    named = inference(USUAL, Topk={"topk": 5, "class_id_map_file": "../ppcls/utils/four_labels.txt"})
    lines = "".join(f"{number} {label}, or so\n" for number, label in enumerate(CLASSES))
    found = resolved(folder_with(tmp_path, {"inference.yml": named, "four_labels.txt": lines}))
    assert found.options.labels == tuple(f"{label}, or so" for label in CLASSES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (inference([{"ResizeImage": {"resize_short": 9, "interpolation": "area"}}]), "'area' of 'cv2' cannot be said"),
        (inference([{"ResizeImage": {"size": 9, "interpolation": "lanczos"}}]), "'lanczos' of 'cv2' cannot be said"),
        (inference([{"RandFlipImage": {}}]), "the operator RandFlipImage is not known"),
        (inference([{"ResizeImage": {"size": "big"}}]), "ResizeImage is 'big'"),
        (inference([{"CropImage": {"size": 9}}]), "CropImage is another order than a resize"),
        (
            inference([{"CropImage": {"size": 9}}, {"ResizeImage": {"size": 9}}]),
            "CropImage, ResizeImage is another order",
        ),
        ("a: [", "it is no YAML"),
    ],
)
def test_what_cannot_be_said_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(OptionMismatch, match=words):
        resolved(folder_with(tmp_path, {"inference.yml": text}))
