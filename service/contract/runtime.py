"""ONNX Runtime, and which processor it really uses. The only file that imports onnxruntime."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read on import: its wheels report usage over the network

import onnxruntime as ort

Array = NDArray[Any]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


SHORT_OF_MEMORY = re.compile(
    r"bad_alloc|failed to allocate|out of memory|CUDA(_ERROR_|BLAS_STATUS_)\w*ALLOC", re.IGNORECASE
)
SYSTEM_ERROR = re.compile(r"system error number (\d+)")
"""How ONNX Runtime, whose exceptions tell kinds of failure apart only in words, says these."""


class ProviderUnavailable(Exception):
    """The execution provider that was asked for cannot be had; the message says what is missing."""


class RunCancelled(Exception):
    """The run was stopped because nobody waits for it any more."""


def may_pass(error: Exception) -> str | None:
    """Why the same may work later, in words, where it failed for want of memory or by an error of the system."""
    if isinstance(error, MemoryError) or SHORT_OF_MEMORY.search(str(error)):
        return "there is not enough memory"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    number = SYSTEM_ERROR.search(str(error))
    return os.strerror(int(number[1])) if number else None


class RunHandle:
    """A run in progress that another thread may stop (between two nodes of the graph)."""

    __slots__ = ("_options",)

    def __init__(self, *, gives_memory_back: bool = False, quiet: bool = False) -> None:
        """`quiet`: the runtime writes no line of its own where the run fails."""
        self._options = ort.RunOptions()
        if quiet:
            self._options.log_severity_level = 4
        if gives_memory_back:
            self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def stop(self) -> None:
        self._options.terminate = True

    @property
    def stopped(self) -> bool:
        return bool(self._options.terminate)


class Session:
    """One graph, ready to run; `run` may be called from several threads at once."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.inputs = tuple(tensor.name for tensor in session.get_inputs())
        self.outputs = tuple(tensor.name for tensor in session.get_outputs())
        self.input_shapes: dict[str, list[Any]] = {tensor.name: tensor.shape for tensor in session.get_inputs()}
        self.provider: str = session.get_providers()[0]

    def run(self, feeds: Mapping[str, Array], handle: RunHandle | None = None) -> dict[str, Array]:
        """Every output of the graph by name.

        Raises:
            RunCancelled: `handle` was stopped before or meanwhile.
            Exception: whatever the runtime raises for these inputs.
        """
        try:
            values = self._session.run(self.outputs, feeds, handle._options if handle is not None else None)
        except Exception as error:
            if handle is not None and handle.stopped:
                raise RunCancelled from error
            raise
        return dict(zip(self.outputs, values, strict=True))


class Runtime:
    """Opens sessions on one execution provider, chosen once and never changed silently."""

    def __init__(self, wanted: Literal["auto", "cpu", "cuda"]) -> None:
        """Raises `ProviderUnavailable` if `wanted` is cuda and there is none."""
        _share_memory_between_sessions()
        self.provider, self.reason = _choose_provider(wanted)

    def open(self, graph: Path) -> Session:
        """The graph in one file (external weights are looked for beside it).

        Raises:
            ProviderUnavailable: the runtime silently took another provider than `self.provider`.
            Exception: whatever the runtime raises for a file it cannot load.
        """
        session = Session(ort.InferenceSession(str(graph), _session_options(), providers=self._providers()))
        if session.provider != self.provider:
            raise ProviderUnavailable(f"{graph.name} was loaded on {session.provider} instead of {self.provider}")
        return session

    def _providers(self) -> Sequence[str]:
        return [self.provider] if self.provider == CPU else [self.provider, CPU]


@cache
def _share_memory_between_sessions() -> None:
    """One arena for all sessions of the process instead of one each, which grows only by what is asked for.

    Fourteen sessions of two 20-layer nets, each run at batch 8: 214 MB resident instead of 488.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    grow_as_requested = {"max_mem": 0, "arena_extend_strategy": 1}
    unset = {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({**grow_as_requested, **unset}))


def _session_options() -> ort.SessionOptions:
    """One thread per run and none that spins: several runs at a time use the cores better (DESIGN.md, 7)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _choose_provider(wanted: Literal["auto", "cpu", "cuda"]) -> tuple[str, str]:
    """The provider and, in words, why."""
    if wanted == "cpu":
        return CPU, "asked for"
    missing = _missing_for_cuda()
    if missing is None:
        return CUDA, "asked for" if wanted == "cuda" else "found"
    if wanted == "cuda":
        raise ProviderUnavailable(f"execution_provider=cuda, but {missing}")
    return CPU, missing


def _missing_for_cuda() -> str | None:
    """What keeps CUDA from working here, in words; None if it works."""
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


def zeros_for(session: Session, batch: int) -> dict[str, Array]:
    """Inputs of the right shapes for a warm-up run: grey images, predicted class, scale 1."""
    feeds: dict[str, Array] = {}
    for name, shape in session.input_shapes.items():
        dimensions = (batch, *shape[1:])
        if name == "label":
            feeds[name] = np.full(dimensions, -1, dtype=np.int64)
        else:
            feeds[name] = np.full(dimensions, 1.0 if name == "cotangent_scale" else 0.0, dtype=np.float32)
    return feeds
