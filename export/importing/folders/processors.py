"""Defaults of transformers' image processors: what they do where `preprocessor_config.json` leaves it out.

Each class has its own defaults, and some resize in their own way. A class that is not here is refused by name,
because it may do anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from export.importing.flags.presets import CLIP_MEAN, CLIP_STD, HALF, IMAGENET_MEAN, IMAGENET_STD

BILINEAR: Final = 2
BICUBIC: Final = 3

Way = Literal["plain", "convnext", "levit", "poolformer"]
"""A way in which `size` becomes a resize; `hugging_face.py` says what each does."""


@dataclass(frozen=True)
class Processor:
    """A class of image processors: its defaults, as `preprocessor_config.json` would state them, and its way.

    - `square`: a `size` that is one number is both sides, not the shorter one.
    - `normalizes`: it obeys `do_normalize`; MobileViT's never does.
    """

    defaults: dict[str, Any]
    way: Way = "plain"
    square: bool = True
    normalizes: bool = True


def _defaults(
    size: Any,
    resample: int = BICUBIC,
    *,
    pixels: tuple[tuple[float, ...], tuple[float, ...]] = (HALF, HALF),
    crop: int | None = None,
    do_crop: bool | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return defaults, mean and std being `pixels`; with a `crop` the picture is cropped, unless `do_crop` is False."""
    return {
        "do_resize": True,
        "size": size,
        "resample": resample,
        "do_center_crop": (crop is not None) if do_crop is None else do_crop,
        "crop_size": crop and {"height": crop, "width": crop},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(pixels[0]),
        "image_std": list(pixels[1]),
        **more,
    }


def _shorter(side: int) -> dict[str, int]:
    return {"shortest_edge": side}


def _both(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


_IMAGENET: Final = (IMAGENET_MEAN, IMAGENET_STD)
_CLIP: Final = Processor(_defaults(_shorter(224), pixels=(CLIP_MEAN, CLIP_STD), crop=224), square=False)
_MOBILENET: Final = Processor(_defaults(_shorter(256), BILINEAR, crop=224), square=False)

PROCESSORS: Final[dict[str, Processor]] = {
    "BeitImageProcessor": Processor(_defaults(_both(224), crop=224, do_crop=False)),
    "BitImageProcessor": _CLIP,
    "CLIPImageProcessor": _CLIP,
    "ConvNextImageProcessor": Processor(_defaults(_shorter(384), crop_pct=0.875), way="convnext", square=False),
    "DeiTImageProcessor": Processor(_defaults(_both(256), crop=224)),
    "EfficientNetImageProcessor": Processor(
        _defaults(_both(346), crop=289, do_crop=False, rescale_offset=False, include_top=True)
    ),
    "LevitImageProcessor": Processor(_defaults(_shorter(224), crop=224, pixels=_IMAGENET), way="levit", square=False),
    "MobileNetV1ImageProcessor": _MOBILENET,
    "MobileNetV2ImageProcessor": _MOBILENET,
    "MobileViTImageProcessor": Processor(
        _defaults(_shorter(224), crop=256, do_flip_channel_order=True), square=False, normalizes=False
    ),
    "PoolFormerImageProcessor": Processor(
        _defaults(_shorter(224), crop=224, crop_pct=0.9, pixels=_IMAGENET), way="poolformer", square=False
    ),
    "PvtImageProcessor": Processor(_defaults(_both(224), pixels=_IMAGENET)),
    "SegformerImageProcessor": Processor(_defaults(_both(512), BILINEAR, pixels=_IMAGENET)),
    "SiglipImageProcessor": Processor(_defaults(_both(224)), square=False),
    "ViTImageProcessor": Processor(_defaults(_both(224), BILINEAR)),
}

OF_MODEL_TYPE: Final = {
    "beit": "BeitImageProcessor",
    "bit": "BitImageProcessor",
    "clip": "CLIPImageProcessor",
    "convnext": "ConvNextImageProcessor",
    "convnextv2": "ConvNextImageProcessor",
    "cvt": "ConvNextImageProcessor",
    "data2vec-vision": "BeitImageProcessor",
    "deit": "DeiTImageProcessor",
    "dinat": "ViTImageProcessor",
    "dinov2": "BitImageProcessor",
    "efficientnet": "EfficientNetImageProcessor",
    "focalnet": "BitImageProcessor",
    "hiera": "BitImageProcessor",
    "ijepa": "ViTImageProcessor",
    "levit": "LevitImageProcessor",
    "mobilenet_v1": "MobileNetV1ImageProcessor",
    "mobilenet_v2": "MobileNetV2ImageProcessor",
    "mobilevit": "MobileViTImageProcessor",
    "mobilevitv2": "MobileViTImageProcessor",
    "poolformer": "PoolFormerImageProcessor",
    "pvt": "PvtImageProcessor",
    "pvt_v2": "PvtImageProcessor",
    "regnet": "ConvNextImageProcessor",
    "resnet": "ConvNextImageProcessor",
    "segformer": "SegformerImageProcessor",
    "siglip": "SiglipImageProcessor",
    "swiftformer": "ViTImageProcessor",
    "swin": "ViTImageProcessor",
    "swinv2": "ViTImageProcessor",
    "vit": "ViTImageProcessor",
    "vit_msn": "ViTImageProcessor",
}
"""`model_type` of a config.json → the processor that transformers takes where none is named."""


def processor_name(preprocessing: dict[str, Any], model_type: Any) -> str | None:
    """Return the class that transformers would take, without the ending of its fast or slow form; None if unsaid."""
    named = preprocessing.get("image_processor_type") or preprocessing.get("feature_extractor_type")
    if not isinstance(named, str):
        return OF_MODEL_TYPE.get(model_type) if isinstance(model_type, str) else None
    return named.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast").removesuffix("Pil")
