"""Imports all that a child needs, before it is copied; torch gets one thread, as a copy cannot start others."""

from __future__ import annotations

import logging
import warnings
from importlib import import_module

import torch

MODULES = (
    "export.coverage.architectures.listed",  # first: the rivals import torchvision
    "export.importing.command",
    "onnxruntime",
    "onnxscript",
    "onnx2torch",
    "onnx2pytorch",
    "onnx_ad",
)

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
for name in MODULES:
    import_module(name)
