"""Memory of the host from which a device copies: page-locked where CUDA grants it, ordinary elsewhere.

CUDA copies from page-locked memory at the full speed of the bus. From ordinary memory its driver copies first into
page-locked memory of its own.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger("contraflow.runtime")

Bytes = NDArray[np.uint8]

SMALLEST: Final = 1 << 16
MOST_PAGE_LOCKED: Final = 1 << 28
"""Bytes of a larger buffer stay in ordinary memory, because the system cannot move page-locked memory out."""

_PORTABLE: Final = 1  # cudaHostAllocPortable: page-locked for every context of the process


class HostBuffers:
    """Buffers that runs borrow, no more than runs at the same time; each is as large as the largest run needed."""

    def __init__(self, index: int = 0, runtime: ctypes.CDLL | None = None) -> None:
        """Lend memory for device `index`; by `runtime`, the CUDA runtime, it is page-locked."""
        self._lock = threading.Lock()
        self._idle: list[_Buffer] = []
        self._index = index
        self._runtime = runtime
        self.made = 0
        """Buffers that exist, lent ones included."""

    @contextmanager
    def borrow(self, size: int) -> Iterator[Bytes]:
        """Lend `size` bytes, whose content is undefined; the thread works on the device from now on."""
        if self._runtime is not None:
            # The current device belongs to the thread. On another one, CUDA would make a context there for each copy.
            self._runtime.cudaSetDevice(self._index)
        with self._lock:
            buffer = self._idle.pop() if self._idle else None
            self.made += buffer is None
        buffer = buffer or _Buffer(self._runtime)
        try:
            yield buffer.sized(size)
        finally:
            with self._lock:
                self._idle.append(buffer)


class _Buffer:
    def __init__(self, runtime: ctypes.CDLL | None) -> None:
        self._runtime = runtime
        self._bytes: Bytes = np.empty(0, np.uint8)

    def sized(self, size: int) -> Bytes:
        """Return the first `size` bytes, of more memory where there is not enough."""
        if len(self._bytes) < size:
            self._bytes = np.empty(0, np.uint8)  # frees the old memory before more is asked for
            self._bytes = self._allocated(max(SMALLEST, 1 << (size - 1).bit_length()))
        return self._bytes[:size]

    def _allocated(self, capacity: int) -> Bytes:
        if self._runtime is not None and capacity <= MOST_PAGE_LOCKED:
            locked = page_locked(capacity, self._runtime)
            if locked is not None:
                return locked
        return np.empty(capacity, np.uint8)


def page_locked(capacity: int, runtime: ctypes.CDLL) -> Bytes | None:
    """Return page-locked memory, which is freed with the last array that shows it; None if CUDA grants none."""
    address = ctypes.c_void_p()
    failed = runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(capacity), ctypes.c_uint(_PORTABLE))
    if failed or not address.value:
        runtime.cudaGetLastError()  # else the next check of CUDA would report this failure as its own
        log.warning("CUDA grants no %d bytes of page-locked memory (error %d); ordinary is used", capacity, failed)
        return None
    memory = (ctypes.c_uint8 * capacity).from_address(address.value)
    weakref.finalize(memory, runtime.cudaFreeHost, address).atexit = False  # CUDA may have ended by then
    return np.ctypeslib.as_array(memory)


def cuda_runtime(maps: Path = Path("/proc/self/maps")) -> ctypes.CDLL | None:
    """Return the CUDA runtime library that this process has loaded with ONNX Runtime; None, with a line, if none is."""
    try:
        lines = maps.read_text().splitlines()
        paths = {line.split(maxsplit=5)[5] for line in lines if "/libcudart" in line}
        library = ctypes.CDLL(min(paths))
        for name in ("cudaSetDevice", "cudaHostAlloc", "cudaFreeHost", "cudaGetLastError"):
            getattr(library, name).restype = ctypes.c_int
    except (OSError, ValueError, IndexError, AttributeError) as error:
        log.warning("no page-locked memory, because the CUDA runtime is not found: %s", error)
        return None
    return library
