"""The execution provider that runs models, chosen once, and what is missing for CUDA."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Literal

import onnxruntime as ort

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class ProviderUnavailable(Exception):
    """The execution provider that was asked for cannot be used; the message says what is missing."""


def choose_provider(wanted: Literal["auto", "cpu", "cuda"]) -> tuple[str, str]:
    """Return the provider, and in words why it was chosen."""
    if wanted == "cpu":
        return CPU, "asked for"
    missing = _missing_for_cuda()
    if missing is None:
        return CUDA, "asked for" if wanted == "cuda" else "found"
    if wanted == "cuda":
        raise ProviderUnavailable(f"execution_provider=cuda, but {missing}")
    return CPU, missing


def _missing_for_cuda() -> str | None:
    """Return what keeps CUDA from working here, in words; None if it works."""
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime was built without CUDA (onnxruntime-gpu has it: the extra `gpu`)"
    try:
        ort.preload_dlls()
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return f"its CUDA provider does not load: {error}"
    try:
        if ctypes.CDLL("libcuda.so.1").cuInit(0) != 0:
            return "the NVIDIA driver finds no usable GPU"
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    return None
