"""The execution provider that runs models, chosen once, and what is missing for CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnxruntime as ort

from service.contract.execution_provider import checked_provider, wanted_gpu
from service.contract.runtime.gpu.cuda import CUDA, load_libraries, share_memory
from service.contract.runtime.gpu.driver import LIBRARY, NoGpu, release_gpu, usable_gpu

CPU: Final = "CPUExecutionProvider"


class ProviderUnavailable(Exception):
    """The execution provider that was asked for cannot be used; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The execution provider that was chosen."""

    name: str
    """`CPU` or `CUDA`."""
    reason: str
    """Why, in words: "asked for", "found", or what is missing for CUDA."""
    gpu: int | None = None
    """Number of the GPU, as CUDA counts those that this process may see."""
    card: str | None = None
    """Name of the GPU, e.g. "NVIDIA H100 80GB HBM3"."""

    def __str__(self) -> str:
        where = "" if self.gpu is None else f", GPU {self.gpu}: {self.card}"
        return f"{self.name} ({self.reason}){where}"


def choose_provider(wanted: str, memory_limit: int | None = None, library: str = LIBRARY) -> Provider:
    """Return the provider: `wanted` is auto, cpu, cuda or cuda:N; `library` is the NVIDIA driver's.

    Raises:
        ValueError: `wanted` is none of those.
        ProviderUnavailable: a GPU is asked for, and cannot be used.
    """
    if checked_provider(wanted) == "cpu":
        return Provider(CPU, "asked for")
    number = wanted_gpu(wanted)
    try:
        if CUDA not in ort.get_available_providers():
            raise NoGpu("this onnxruntime was built without CUDA (onnxruntime-gpu has it: the extra `gpu`)")
        card = usable_gpu(number, ort.cuda_version or "0", library)
        try:
            load_libraries()
            share_memory(number, memory_limit)
        except NoGpu:
            release_gpu(number, library)
            raise
    except NoGpu as missing:
        if wanted != "auto":
            raise ProviderUnavailable(f"execution_provider={wanted}, but {missing}") from None
        return Provider(CPU, str(missing))
    return Provider(CUDA, "found" if wanted == "auto" else "asked for", number, card)
