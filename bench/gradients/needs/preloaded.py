"""Imports all that a run may need, before the process is copied; torch gets one thread, as a copy starts no others."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from importlib import import_module

import torch

from export.coverage.architectures.from_torchvision import torchvision_models

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
torchvision_models()  # first: onnx2pytorch imports torchvision
for name in ("backpack", "backpack.extensions", "opacus", "onnx2pytorch", "onnx2torch", "onnx_ad"):
    with suppress(ImportError):
        import_module(name)
import_module("bench.gradients.rivals.rows")
