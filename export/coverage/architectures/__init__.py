"""The list of architectures that are measured, fixed here; nobody here wrote any of them.

architecture        what one is, its random weights and images
from_timm           timm: names, sizes and arguments, and how it builds them
from_transformers   transformers, likewise
from_pytorchcv      pytorchcv, likewise
from_vit_pytorch    vit-pytorch, likewise
from_torchvision    torchvision, likewise
listed              all of them
"""
