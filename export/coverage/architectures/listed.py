"""Every architecture of the list, by its key."""

from __future__ import annotations

from export.coverage.architectures.from_torchvision import torchvision_models

torchvision_models()  # the others import torchvision, which then finds what it needs

from export.coverage.architectures import (  # noqa: E402
    from_pytorchcv,
    from_timm,
    from_torchvision,
    from_transformers,
    from_vit_pytorch,
)
from export.coverage.architectures.architecture import Architecture  # noqa: E402

ARCHITECTURES: dict[str, Architecture] = {
    architecture.key: architecture
    for module in (from_timm, from_transformers, from_pytorchcv, from_vit_pytorch, from_torchvision)
    for architecture in module.ARCHITECTURES
}

SAMPLED = (
    "pytorchcv/mobilenetv2_wd4",
    "timm/convnext_atto",
    "timm/resnet18",
    "torchvision/SwinTransformer",
    "torchvision/vgg11_bn",
    "transformers/ViT",
    "vit_pytorch/simple_vit.SimpleViT",
)
"""Those that are also exported for a batch of one and served over HTTP, which takes too long for all."""
