"""The list of architectures that are measured, fixed here; nobody here wrote any of them.

architecture        what one is, its random weights and images
from_timm, from_transformers, from_pytorchcv, from_vit_pytorch, from_torchvision
                    one file per package: names, sizes and arguments, and how the package builds them
listed              all of them
"""
