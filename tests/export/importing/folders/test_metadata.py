"""Files that describe themselves: Ultralytics' metadata, ONNX's `Image.*`, Azure Custom Vision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from export.coverage.architectures.from_torchvision import torchvision_models
from export.importing import OptionMismatch
from tests.export.importing.folders.producers import (
    CLASSES,
    SIZES,
    folder_with,
    network,
    picture,
    resolved,
    spec_of,
    tensor,
)

torchvision_models()  # or torchvision could not be imported

from torchvision import transforms  # noqa: E402

ULTRALYTICS = {
    "description": "Ultralytics YOLOv8n-cls model", "author": "Ultralytics", "task": "classify", "stride": "1",
    "batch": "1", "imgsz": "[96, 96]", "names": str(dict(enumerate(CLASSES))),
}  # fmt: skip
CUSTOM_VISION = {
    "CustomVision.Metadata.Version": "1.1",
    "CustomVision.Postprocess.Method": "ClassificationMultiClass",
    "CustomVision.Preprocess.NormalizeMean": "[0.0, 0.0, 0.0]",
    "CustomVision.Preprocess.NormalizeStd": "[1.0, 1.0, 1.0]",
    "CustomVision.Preprocess.ResizeMethod": "ByShorterSideAlign32",
}
BGR_BYTES = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}


def saved(folder: Path, metadata: dict[str, str], size: tuple[int, int] | None = (96, 96)) -> Path:
    path = folder / "best.onnx"
    onnx.save(network(size, metadata), path)
    return path


# ── Ultralytics ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("imgsz", ["[96, 96]", "97", "[64, 96]"])
def test_the_tensor_is_that_of_ultralytics_transform(tmp_path: Path, imgsz: str) -> None:
    """Their classify_transforms: Resize to a number where both sides are equal, CenterCrop, ToTensor, no statistics."""
    spec = spec_of(saved(tmp_path, {**ULTRALYTICS, "imgsz": imgsz}, None))
    sides = (spec.height, spec.width)
    transform = transforms.Compose([
        transforms.Resize(sides[0] if sides[0] == sides[1] else sides, transforms.InterpolationMode.BILINEAR),
        transforms.CenterCrop(sides), transforms.ToTensor(), transforms.Normalize((0.0,) * 3, (1.0,) * 3),
    ])  # fmt: skip
    for size in SIZES:
        np.testing.assert_array_equal(
            tensor(picture(*size), spec), transform(picture(*size)).numpy(), err_msg=str(size)
        )


def test_ultralytics_names_are_the_labels(tmp_path: Path) -> None:
    found = resolved(saved(tmp_path, ULTRALYTICS))
    assert found.options.labels == CLASSES
    assert found.sources["labels"] == "the file's metadata (Ultralytics): names"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "detect"}, "its task is 'detect', not 'classify'"),
        ({"names": "__import__('os').abort()"}, "names cannot be read"),
        ({"names": "{1: 'ant', 2: 'bee'}"}, "does not number its classes from 0"),
        ({"imgsz": "[0, 96]"}, "imgsz is 0"),
        ({"imgsz": "'large'"}, "imgsz is 'large'"),
    ],
)
def test_metadata_that_no_classifier_has_are_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    with pytest.raises(OptionMismatch, match=words):
        resolved(saved(tmp_path, {**ULTRALYTICS, **changes}))


def test_labels_that_cannot_be_read_are_said_by_the_flag_that_the_refusal_names(tmp_path: Path) -> None:
    path = saved(tmp_path, {**ULTRALYTICS, "names": "ant, bee"})
    with pytest.raises(OptionMismatch, match="names cannot be read; say --labels"):
        resolved(path)
    assert resolved(path, labels=CLASSES).options.labels == CLASSES


# ── ONNX's own metadata ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ("NominalRange_0_255", lambda pixels: pixels),
        ("Normalized_0_1", lambda pixels: pixels / 255),
        ("Normalized_1_1", lambda pixels: pixels / 127.5 - 1),
    ],
)
@pytest.mark.parametrize(("form", "order"), [("Rgb8", [0, 1, 2]), ("Bgr8", [2, 1, 0])])
def test_pixel_format_and_range_are_taken(
    tmp_path: Path, range_: str, expected: Any, form: str, order: list[int]
) -> None:
    metadata = {"Image.BitmapPixelFormat": form, "Image.NominalPixelRange": range_, "Image.ColorSpaceGamma": "SRGB"}
    spec = spec_of(saved(tmp_path, metadata))
    pixels = np.asarray(picture(96, 96), np.float32).transpose(2, 0, 1)[order]
    np.testing.assert_allclose(tensor(picture(96, 96), spec), expected(pixels), rtol=1e-6, atol=1e-5)


def test_a_range_or_gamma_that_no_bundle_can_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionMismatch, match="NominalRange_16_235"):
        resolved(saved(tmp_path, {"Image.NominalPixelRange": "NominalRange_16_235"}))
    told = resolved(saved(tmp_path, {"Image.NominalPixelRange": "NominalRange_16_235"}), mean=(0.0,), std=(1.0,))
    assert "NominalRange_16_235" in " ".join(told.notes)
    with pytest.raises(OptionMismatch, match=r"BitmapPixelFormat is 'Nv12', none of Gray8, Rgb8.*say .* --channels"):
        resolved(saved(tmp_path, {"Image.BitmapPixelFormat": "Nv12"}))
    with pytest.raises(OptionMismatch, match="ColorSpaceGamma is Linear"):
        resolved(saved(tmp_path, {"Image.ColorSpaceGamma": "Linear"}))


# ── Azure Custom Vision ───────────────────────────────────────────────────────────────────────────


def sample(image: Image.Image, size: tuple[int, int], metadata: dict[str, str]) -> NDArray[np.float32]:
    """Return what Custom Vision's ONNX sample (onnx/classification/predict.py) makes of a picture."""
    tensor_: Any = np.array(image.resize(size), np.float32).transpose(2, 0, 1)
    if metadata.get("Image.BitmapPixelFormat") == "Bgr8":
        tensor_ = tensor_[[2, 1, 0]]
    return np.asarray(tensor_ if metadata.get("Image.NominalPixelRange") == "NominalRange_0_255" else tensor_ / 255)


@pytest.mark.parametrize("metadata", [BGR_BYTES, {**BGR_BYTES, "Image.BitmapPixelFormat": "Rgb8"}, {}], ids=str)
def test_the_tensor_is_that_of_custom_vision_s_sample(tmp_path: Path, metadata: dict[str, str]) -> None:
    files = {
        "labels.txt": "\n".join(CLASSES),
        "metadata_properties.json": CUSTOM_VISION,
        "cvexport.manifest": {"DomainType": "Classification", "ExporterVersion": "2.1", "ModelFileName": "model.onnx"},
    }
    folder = folder_with(tmp_path, files, network((96, 96), metadata))
    assert resolved(folder).options.labels == CLASSES
    spec = spec_of(folder)
    for size in SIZES:
        theirs = sample(picture(*size), (96, 96), metadata)
        np.testing.assert_allclose(tensor(picture(*size), spec), theirs, rtol=1e-6, atol=1e-4, err_msg=str(size))


def test_a_custom_vision_project_of_another_kind_is_refused(tmp_path: Path) -> None:
    manifest = {"DomainType": "ObjectDetection", "ExporterVersion": "2.1"}
    with pytest.raises(OptionMismatch, match="ObjectDetection"):
        resolved(folder_with(tmp_path, {"cvexport.manifest": manifest}))
    normalized = {**CUSTOM_VISION, "CustomVision.Preprocess.NormalizeMean": "[123.0, 116.0, 103.0]"}
    with pytest.raises(OptionMismatch, match="say --mean and --std"):
        resolved(folder_with(tmp_path / "other", {"metadata_properties.json": normalized}))
