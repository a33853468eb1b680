"""Image classifiers of transformers, each from a small configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers
from torch import nn

from export.coverage.architectures.architecture import CLASSES, Architecture, FirstOutput

ENCODER = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
    "patch_size": 8,
}
STAGED = {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 4]}

CONFIGURATIONS: dict[str, tuple[int, dict[str, Any]]] = {
    "Beit": (32, {**ENCODER, "use_relative_position_bias": True, "layer_scale_init_value": 0.1}),
    "Bit": (64, {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "num_groups": 4}),
    "CLIP": (32, {"vision_config": {**ENCODER, "image_size": 32}}),
    "ConvNext": (64, {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}),
    "ConvNextV2": (64, {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}),
    "Cvt": (64, {"embed_dim": [16, 24, 32], "num_heads": [1, 2, 2], "depth": [1, 2, 3]}),
    "Data2VecVision": (32, {**ENCODER, "use_relative_position_bias": True, "layer_scale_init_value": 0.1}),
    "DeiT": (32, ENCODER),
    "Dinov2": (32, ENCODER),
    "Dinov2WithRegisters": (32, ENCODER),
    "DonutSwin": (32, {**STAGED, "patch_size": 4, "window_size": 4}),
    "EfficientNet": (64, {"width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640}),
    "FocalNet": (64, {"embed_dim": 24, "depths": [1, 1], "hidden_sizes": [24, 48], "focal_levels": [2, 2]}),
    "HGNetV2": (64, {}),
    "Hiera": (64, {**STAGED, "image_size": [64, 64], "num_query_pool": 1, "masked_unit_size": [4, 4]}),
    "IJepa": (32, ENCODER),
    "Levit": (64, {"hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1]}),
    "MetaClip2": (32, {"vision_config": {**ENCODER, "image_size": 32}}),
    "MobileNetV1": (64, {"depth_multiplier": 0.25}),
    "MobileNetV2": (64, {"depth_multiplier": 0.35}),
    "MobileViT": (64, {"hidden_sizes": [24, 32, 40], "neck_hidden_sizes": [8, 12, 16, 20, 24, 28, 64]}),
    "MobileViTV2": (64, {"width_multiplier": 0.25}),
    "Perceiver": (
        64,
        {
            "num_latents": 8,
            "d_latents": 32,
            "num_blocks": 1,
            "num_self_attends_per_block": 2,
            "num_cross_attention_heads": 1,
        },
    ),
    "PoolFormer": (64, {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1]}),
    "PPLCNet": (64, {"scale": 0.25}),
    "Pvt": (64, {"hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 2, 2, 4], "depths": [1, 1, 1, 1]}),
    "PvtV2": (64, {"hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 2, 2, 4], "depths": [1, 1, 1, 1]}),
    "RegNet": (64, {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1], "groups_width": 8}),
    "ResNet": (64, {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}),
    "Segformer": (64, {"hidden_sizes": [16, 24, 32, 48], "num_attention_heads": [1, 2, 2, 4], "depths": [1, 1, 1, 1]}),
    "Siglip": (32, {"vision_config": {**ENCODER, "image_size": 32}}),
    "SwiftFormer": (64, {"depths": [1, 1, 2, 1], "embed_dims": [16, 24, 32, 48]}),
    "Swin": (32, {**STAGED, "patch_size": 4, "window_size": 4}),
    "Swinv2": (32, {**STAGED, "patch_size": 4, "window_size": 4}),
    "TextNet": (64, {}),
    "ViT": (32, ENCODER),
    "ViTMSN": (32, ENCODER),
}
HEADS = {"Perceiver": "ForImageClassificationConvProcessing"}


def _make(name: str, arguments: Mapping[str, Any], image_size: int) -> nn.Module:
    configuration = getattr(transformers, f"{name}Config")(
        **{"num_labels": CLASSES, "image_size": image_size, **arguments}
    )
    network = getattr(transformers, name + HEADS.get(name, "ForImageClassification"))(configuration)
    return FirstOutput(network)


ARCHITECTURES = tuple(
    Architecture("transformers", name, size, _make, arguments) for name, (size, arguments) in CONFIGURATIONS.items()
)
