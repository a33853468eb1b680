"""Sessions of ONNX Runtime, and which processor they really run on. The only file that imports onnxruntime."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from service.contract.arrays import Array
from service.contract.bundle_schema import WEIGHTS_FILE
from service.output.system_errors import system_reason
from service.output.true_places import true_place

# ONNX Runtime reports its use over the network unless this is set when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# ONNX Runtime raises the same exception for all kinds of failure; only the message tells them apart.
SHORT_OF_MEMORY = re.compile(
    r"bad_alloc|failed to allocate|out of memory|CUDA(_ERROR_|BLAS_STATUS_)\w*ALLOC", re.IGNORECASE
)
SYSTEM_ERROR = re.compile(r"system error number (\d+)")


class ProviderUnavailable(Exception):
    """The execution provider that was asked for cannot be used; the message says what is missing."""


class RunCancelled(Exception):
    """The run was stopped because nobody waits for its result any more."""


def passing_reason(error: Exception) -> str | None:
    """Return why loading or running failed, in words, if the reason may pass; None if it would fail again.

    A shortage of memory and an error of the operating system may pass. A graph that is wrong stays wrong.
    """
    if isinstance(error, MemoryError) or SHORT_OF_MEMORY.search(str(error)):
        return "there is not enough memory"
    if isinstance(error, OSError):
        return system_reason(error)
    found = SYSTEM_ERROR.search(str(error))
    return os.strerror(int(found[1])) if found else None


class RunHandle:
    """A run in progress, which another thread may stop; the runtime looks at it between two nodes of the graph."""

    __slots__ = ("_options",)

    def __init__(self, *, gives_memory_back: bool = False, quiet: bool = False) -> None:
        """Prepare a run.

        Args:
            gives_memory_back: return the memory that the run took to the system afterwards.
            quiet: keep the runtime from writing a line of its own if the run fails.
        """
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
    """One graph that is ready to run; several threads may call `run` at the same time."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.inputs = tuple(tensor.name for tensor in session.get_inputs())
        self.outputs = tuple(tensor.name for tensor in session.get_outputs())
        self.input_shapes: dict[str, list[Any]] = {tensor.name: tensor.shape for tensor in session.get_inputs()}
        self.provider: str = session.get_providers()[0]

    def run(self, feeds: Mapping[str, Array], handle: RunHandle | None = None) -> dict[str, Array]:
        """Run the graph and return all its outputs by name.

        Raises:
            RunCancelled: `handle` was stopped, before the run or during it.
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
    """Opens sessions on one execution provider, which is chosen once and never changed silently."""

    def __init__(self, wanted: Literal["auto", "cpu", "cuda"]) -> None:
        """Choose the provider; raise `ProviderUnavailable` if `wanted` is cuda and CUDA does not work here."""
        _share_memory_between_sessions()
        self.provider, self.reason = _choose_provider(wanted)

    def open(self, graph: Path) -> Session:
        """Open the graph in one file, with the bundle's weights, which lie in the same folder.

        Raises:
            ProviderUnavailable: the runtime silently chose another provider than `self.provider`.
            Exception: whatever the runtime raises for a file it cannot load.
        """
        options, weights = _session_options(), graph.with_name(WEIGHTS_FILE)
        content = b""
        if true_place(graph.parent) is None and weights.exists():
            # The runtime follows the text of links, and refuses weights whose place it does not find. It takes their
            # content instead, which must stay until the session is there; each session then has its own copy.
            content = weights.read_bytes()
            options.add_external_initializers_from_files_in_memory([weights.name], [content], [len(content)])
        session = Session(ort.InferenceSession(str(graph), options, providers=self._providers()))
        if session.provider != self.provider:
            raise ProviderUnavailable(f"{graph.name} was loaded on {session.provider} instead of {self.provider}")
        return session

    def _providers(self) -> Sequence[str]:
        return [self.provider] if self.provider == CPU else [self.provider, CPU]


@cache
def _share_memory_between_sessions() -> None:
    """Have all sessions of the process allocate from one arena, which grows only by what is asked for.

    By default each session has its own. Fourteen sessions of two 20-layer nets, each run at batch 8, take 214 MB of
    resident memory this way instead of 488 MB.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    grow_as_requested = {"max_mem": 0, "arena_extend_strategy": 1}
    unset = {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({**grow_as_requested, **unset}))


def _session_options() -> ort.SessionOptions:
    """Return options for runs of one thread each, which does not spin.

    Under load, several one-thread runs side by side finish more images than one run on several threads, and a thread
    that spins while it waits takes a core from the others.
    """
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


def zeros_for(session: Session, batch: int) -> dict[str, Array]:
    """Return inputs of the right shapes for a warm-up run: zeros as images, the predicted class, scale 1."""
    feeds: dict[str, Array] = {}
    for name, shape in session.input_shapes.items():
        dimensions = (batch, *shape[1:])
        if name == "label":
            feeds[name] = np.full(dimensions, -1, dtype=np.int64)
        else:
            feeds[name] = np.full(dimensions, 1.0 if name == "cotangent_scale" else 0.0, dtype=np.float32)
    return feeds
