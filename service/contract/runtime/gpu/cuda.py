"""CUDA in ONNX Runtime: its libraries, the options of its provider, and one arena for all sessions on a GPU.

The names of options and their meanings are those of ONNX Runtime 1.31's
`core/providers/cuda/cuda_execution_provider_info.cc`, which refuses a name that it does not know.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import re
import sys
from functools import cache
from pathlib import Path

import onnxruntime as ort

from service.contract.runtime.gpu.driver import NoGpu

log = logging.getLogger("contraflow.server")

CUDA = "CUDAExecutionProvider"

CUDA_FAILURE = re.compile(r"CUDA failure \d+: [^;]*[^; ]")
"""ONNX Runtime's words for an error of CUDA's own (`core/providers/cuda/cuda_call.cc`), up to places in its code."""


def load_libraries() -> None:
    """Load CUDA's and cuDNN's libraries, from NVIDIA's packages or where the loader finds them.

    Its provider, which needs them, is left to ONNX Runtime: it asks for its host as soon as it is loaded, and dies if
    ONNX Runtime has set none yet.

    They read `NVIDIA_TF32_OVERRIDE`. With 0, TensorFloat-32 is off even where the provider's option does not reach: a
    convolution for which cuDNN offers nothing without tensor cores is planned with them
    (`core/providers/cuda/nn/conv.cc`, "Try fallback").

    Raises:
        NoGpu: a library is missing or does not load; the message names it.
    """
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    _load_packages()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints what fails, and raises nothing
        ort.preload_dlls()
    failures = [line for line in said.getvalue().splitlines() if line.startswith("Failed to load")]
    if failures:
        raise NoGpu(f"CUDA's libraries do not load: {failures[0].partition(': ')[2]}")
    try:
        ctypes.CDLL("libcudnn.so.9")  # its failure is not even printed, and every convolution needs it
    except OSError as error:
        raise NoGpu(f"CUDA's libraries do not load: {error}") from None


def _load_packages() -> None:
    """Load the libraries that lie in NVIDIA's packages anywhere on Python's path.

    ONNX Runtime looks for packages in its own folder only, and takes the system's libraries where it finds none: of
    some other release, or some from here and some from there.
    """
    parts_of_each = getattr(ort, "_get_nvidia_dll_paths", lambda _: ())(False)  # not public, so it may go
    for parts in parts_of_each:
        files = (Path(place or ".", *parts) for place in sys.path)
        if (found := next((file for file in files if file.is_file()), None)) is not None:
            with contextlib.suppress(OSError):  # ONNX Runtime tries it next, and says why it fails
                ctypes.CDLL(str(found))


def share_memory(gpu: int, limit: int | None) -> None:
    """Have all sessions on a GPU allocate from one arena of `limit` bytes.

    If that cannot be had, a line in the log says that each session has an arena of its own and the limit for itself.

    Raises:
        NoGpu: ONNX Runtime cannot load its CUDA provider, which it does here for the first time, or CUDA fails in it.
    """
    ort.set_default_logger_severity(3)  # each session would warn that CUDA is built in, and no plugin
    try:
        _shared_arena(gpu, limit)
    except Exception as error:  # whatever ONNX Runtime raises
        if "Provider not available" in str(error):
            raise NoGpu(f"onnxruntime's CUDA provider does not load: {_why_not_loaded() or error}") from error
        if failure := CUDA_FAILURE.search(str(error)):
            raise NoGpu(f"CUDA does not start: {failure[0]}") from error
        log.warning(
            "GPU %d: each session has an arena and a limit of its own, because one for all failed: %s", gpu, error
        )


@cache
def _shared_arena(gpu: int, limit: int | None) -> None:
    memory = ort.OrtMemoryInfo("Cuda", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, gpu, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator_v2(CUDA, memory, {"device_id": str(gpu)}, growing_arena(limit))


def growing_arena(limit: int | None = None) -> ort.OrtArenaCfg:
    """Return the settings of an arena that grows only by what is asked for, to `limit` bytes at most."""
    grow_as_requested = {"max_mem": limit or 0, "arena_extend_strategy": 1}
    unset = {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    return ort.OrtArenaCfg({**grow_as_requested, **unset})


def _why_not_loaded() -> str | None:
    """Return the loader's reason. ONNX Runtime has tried before and set the host, so that loading it is safe."""
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return str(error)
    return None


def provider_options(gpu: int, memory_limit: int | None, *, cuda_graph: bool) -> dict[str, str]:
    """Return the options of the CUDA provider for one session.

    use_tf32: off, where ONNX Runtime has it on. TensorFloat-32 keeps 10 bits of a product's factors, so that
        predictions would differ from the CPU's and norms from float64's by more than the 1e-3 that is promised.
    cudnn_conv_algo_search: cuDNN's heuristics in mode A, where ONNX Runtime takes mode B (`core/providers/cuda/nn/
        conv.cc`, HeurMode_t). On an H100 planning for a ResNet-50's weight norms took about ten times as long in mode
        B. A convolution keeps its plan for the last shape only, and plans anew whenever the batch differs from the one
        before (github.com/microsoft/onnxruntime/issues/23006), so that planning must be quick. A recorded CUDA graph
        is replayed without it.
    cudnn_conv_use_max_workspace: any algorithm, however much memory it needs for its workspace.
    arena_extend_strategy: an arena that grows by what is asked for, and not to the next power of two.
    do_copy_in_default_stream: copies are in order with the computation. ONNX Runtime's documentation warns of races
        otherwise.
    gpu_mem_limit: bytes of a session's own arena; that of all sessions has its limit from `share_memory`.
    enable_cuda_graph: a run may be recorded and replayed.
    """
    options = {
        "device_id": str(gpu),
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "enable_cuda_graph": "1" if cuda_graph else "0",
    }
    return options if memory_limit is None else {**options, "gpu_mem_limit": str(memory_limit)}
