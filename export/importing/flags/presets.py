"""Ways of preparing pictures that many networks share, each under the name that the field has for it.

A preset says everything but the size: mean, std and scale, the order of the channels, and how a picture is resized.
"""

from __future__ import annotations

from typing import Any, Final

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)
HALF: Final = (0.5, 0.5, 0.5)

_STRAIGHT: Final[dict[str, Any]] = {"resize_side": None, "interpolation": "bilinear"}
_PLAIN: Final[dict[str, Any]] = {"channels": "rgb", "scale": 1.0}

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "imagenet": {
        "mean": IMAGENET_MEAN, "std": IMAGENET_STD, **_PLAIN,
        "crop_fraction": 0.875, "resize_side": "shorter", "interpolation": "bilinear",
    },
    "clip": {
        "mean": CLIP_MEAN, "std": CLIP_STD, **_PLAIN,
        "crop_fraction": 1.0, "resize_side": "shorter", "interpolation": "bicubic",
    },
    "unit": {"mean": (0.0,), "std": (1.0,), **_PLAIN, **_STRAIGHT},
    "caffe": {
        "mean": tuple(value / 255 for value in (123.68, 116.779, 103.939)), "std": (1.0,),
        "channels": "bgr", "scale": 255.0, **_STRAIGHT,
    },
    "tf": {"mean": (0.5,), "std": (0.5,), **_PLAIN, **_STRAIGHT},
    "inception": {
        "mean": HALF, "std": HALF, **_PLAIN,
        "crop_fraction": 0.875, "resize_side": "shorter", "interpolation": "bicubic",
    },
}  # fmt: skip
"""Preset → fields of `ImportOptions`."""

MEANINGS: Final = {
    "imagenet": "torchvision: RGB, ImageNet's mean and std; shorter side to size / 0.875, centre crop, bilinear",
    "clip": "OpenAI CLIP: RGB, its mean and std; shorter side to the size, centre crop, bicubic",
    "unit": "RGB in 0…1, no normalization; stretched to the size, bilinear",
    "caffe": "Caffe, Keras ResNet and VGG: BGR in 0…255 minus 103.939, 116.779, 123.68; stretched, bilinear",
    "tf": "Keras MobileNet and its like: RGB in -1…1; stretched to the size, bilinear",
    "inception": "timm's Inception: RGB in -1…1; shorter side to size / 0.875, centre crop, bicubic",
}


def offered() -> str:
    """Return all presets with their meanings, in one line."""
    return "; ".join(f"{name} ({meaning})" for name, meaning in MEANINGS.items())
