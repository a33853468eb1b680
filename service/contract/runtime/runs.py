"""A run in progress, which another thread may stop, and why loading or running failed."""

from __future__ import annotations

import os
import re

import onnxruntime as ort

from service.output.system_errors import system_reason

# ONNX Runtime raises the same exception for all kinds of failure; only the message tells them apart.
SHORT_OF_MEMORY = re.compile(r"bad_alloc|failed to allocate|out of memory|is smaller than requested bytes", re.I)
"""The last one is what an arena with a limit says (`core/framework/bfc_arena.cc`)."""
SHORT_ON_THE_GPU = re.compile(
    r"CUDA failure 2\b|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|(CUBLAS|CUDNN)_STATUS_(ALLOC_FAILED|INTERNAL_"
    r"ERROR_DEVICE_ALLOCATION_FAILED)"
)
SYSTEM_ERROR = re.compile(r"system error number (\d+)")


class RunCancelled(Exception):
    """The run was stopped because nobody waits for its result any more."""


def shortage(error: Exception, *, on_a_gpu: bool = False) -> str | None:
    """Return which memory was too small for loading or running, in words; None if it failed for another reason.

    Arenas on the CPU and on a GPU fail alike: with `on_a_gpu`, where nearly everything is allocated on it, that is the
    GPU's.
    """
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return "there is not enough memory"
    if SHORT_ON_THE_GPU.search(str(error)) or (on_a_gpu and SHORT_OF_MEMORY.search(str(error))):
        return "there is not enough memory on the GPU"
    return "there is not enough memory" if SHORT_OF_MEMORY.search(str(error)) else None


def passing_reason(error: Exception, *, on_a_gpu: bool = False) -> str | None:
    """Return why loading failed, in words, if the reason may pass; None if it would fail again.

    A shortage of memory and an error of the operating system may pass. A graph that is wrong stays wrong.
    """
    if short := shortage(error, on_a_gpu=on_a_gpu):
        return short
    if isinstance(error, OSError):
        return system_reason(error)
    found = SYSTEM_ERROR.search(str(error))
    return os.strerror(int(found[1])) if found else None


class RunHandle:
    """A run in progress, which another thread may stop; the runtime looks at it between two nodes of the graph."""

    __slots__ = ("_options", "shrinks", "wide")

    def __init__(self, *, wide: bool = False, shrinks: str | None = None, quiet: bool = False) -> None:
        """Prepare a run.

        Args:
            wide: take every thread that the session may have, if it was widened.
            shrinks: the memory (`Session.arena`) whose unused part is returned to the system afterwards.
            quiet: keep the runtime from writing a line of its own if the run fails.
        """
        self._options = ort.RunOptions()
        self.wide = wide
        self.shrinks = shrinks
        if quiet:
            self._options.log_severity_level = 4
        if shrinks:
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", shrinks)

    def stop(self) -> None:
        self._options.terminate = True

    @property
    def stopped(self) -> bool:
        return bool(self._options.terminate)
