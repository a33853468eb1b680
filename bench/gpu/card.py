"""The machine that rows are true of: the card, the processor, the versions."""

from __future__ import annotations

import subprocess
from typing import Any, Literal

import onnxruntime
import torch

from bench.harness.machine import machine
from service.contract.runtime.gpu.cuda import CUDA


def facts(device: Literal["cuda", "cpu"]) -> dict[str, Any]:
    """Return what has a name and a version, as JSON; the card's own facts only where rows are measured on it."""
    known: dict[str, Any] = {
        "device": device,
        "cpu": machine(),
        "onnxruntime": onnxruntime.__version__,
        "torch": str(torch.__version__),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        known |= {
            "card": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "driver": (told("driver_version") or ["unknown"])[0],
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    return known


def described(known: dict[str, Any]) -> str:
    """Return the machine in a sentence."""
    versions = f"ONNX Runtime {known['onnxruntime']}, torch {known['torch']}"
    if known["device"] == "cpu":
        return f"Measured without a GPU, on {known['cpu']}; {versions}: it shows only that the command runs."
    return (
        f"Measured on one {known['card']} ({known['memory_gib']} GiB, compute capability "
        f"{known['compute_capability']}, driver {known['driver']}) and {known['cpu']}; {versions}, "
        f"CUDA {known['cuda']}, cuDNN {known['cudnn']}."
    )


def found() -> Literal["cuda", "cpu"]:
    """Return "cuda" where both torch and ONNX Runtime can use a card."""
    return "cuda" if torch.cuda.is_available() and CUDA in onnxruntime.get_available_providers() else "cpu"


def told(*fields: str) -> list[str] | None:
    """Return what `nvidia-smi` tells of the first card; None where there is no card, or nothing that tells."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = done.stdout.strip().split(", ")
    return values if done.returncode == 0 and len(values) == len(fields) else None
