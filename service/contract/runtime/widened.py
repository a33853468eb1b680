"""A graph on one thread and on several, whose two sessions share their weights.

A session's number of threads is fixed. A second session would hold everything once more, since ONNX Runtime
rewrites weights for its kernels when it opens a graph, and cannot share what it has rewritten. So the optimised graph
is written to a file, with its rewritten weights beside it, and both sessions open that: they map the weights into
memory, where they are there once. The files are removed right after, while the maps stay.

What `MatMul` and `Gemm` pack for themselves is no part of the file. The session of one thread packs, as always; that
of several does without, so that it takes no memory of its own. Where no file can be written, it has weights of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnxruntime as ort

WEIGHTS: Final = "weights"
"""Name of the file of rewritten weights."""

SMALLEST_SHARED: Final = 4096
"""Bytes from which a tensor lies in that file. Smaller ones stay in the graph, for shapes are computed from them."""

TIMES_THE_WEIGHTS: Final = 6
"""Most memory that widening takes for a while, and most room among temporary files.

Weight norms of a ResNet-50 take five times the memory, while the optimised graph is written, and 2.4 times the room:
weights are rewritten for the forward pass and for the backward pass.
"""

BESIDES: Final = 2**26
"""Bytes that are left besides."""


def room_for(weights: int) -> int:
    """Return the most bytes, of memory and of temporary files, that widening takes for so many bytes of weights."""
    return TIMES_THE_WEIGHTS * weights + BESIDES


def no_temporary_files(size: int) -> str | None:
    """Return why temporary files of `size` bytes cannot be written, in words; None if they can."""
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"there is no folder for temporary files ({error.strerror or error})"
    return f"{folder} has {free / 1e6:.0f} MB free, and {size / 1e6:.0f} may be needed" if free < size else None


@contextmanager
def place_for_graph(graph: str) -> Iterator[Path]:
    """Give a place for a graph, in a folder that is removed afterwards.

    Raises:
        OSError: there is no folder for temporary files, or nothing can be written to it.
    """
    with tempfile.TemporaryDirectory(prefix="contraflow-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve() / graph  # the runtime refuses weights behind a link


@contextmanager
def copied(*files: Path) -> Iterator[Path]:
    """Give the first of some files, all copied to a folder that is removed afterwards.

    Raises:
        OSError: a file cannot be read, or there is no room for it among temporary files.
    """
    with place_for_graph(files[0].name) as copy:
        for file in files:
            shutil.copyfile(file, copy.with_name(file.name))
        yield copy


def writing(options: ort.SessionOptions, optimised: Path) -> ort.SessionOptions:
    """Have a session write its optimised graph, and its weights beside it."""
    options.optimized_model_filepath = str(optimised)
    prefix = "session.optimized_model_external_initializers_"
    options.add_session_config_entry(f"{prefix}file_name", WEIGHTS)
    options.add_session_config_entry(f"{prefix}min_size_in_bytes", str(SMALLEST_SHARED))
    return options


def as_written(options: ort.SessionOptions, threads: int) -> ort.SessionOptions:
    """Have a session run an optimised graph as it is, on so many threads."""
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if threads > 1:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return on_threads(options, threads)


def on_threads(options: ort.SessionOptions, threads: int) -> ort.SessionOptions:
    """Have runs of a session take so many threads."""
    options.intra_op_num_threads = threads
    return options
