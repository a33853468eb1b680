"""A processor with memory of its own, and what its sessions share: values in its memory, and turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.runtime.gpu.host_memory import HostBuffers, cuda_runtime
from service.contract.runtime.gpu.pixel_graph import Layout, PixelFeed, PixelTable, pixel_model, table_inputs

Feed: TypeAlias = Array | PixelFeed | ort.OrtValue
"""Forms of an input: an array of the host, pixels to be looked up, or a value in the device's memory."""


class Turns:
    """Lets many threads work on the device, or one alone.

    ONNX Runtime captures a CUDA graph in the mode `cudaStreamCaptureModeGlobal` (onnxruntime/core/providers/cuda/
    cuda_graph.cc): meanwhile every other thread's allocation, copy or synchronisation fails, and spoils the capture.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Work beside others; do not enter twice, because who waits to be alone comes first."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody works, and let nobody begin."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: not self._working)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


class Device:
    """Puts values into the memory of one device; the device "cpu" does the same in the host's, which tests use.

    Concurrent runs need no streams of our own. ONNX Runtime gives a run a collection of device streams that no other
    run has at the time, and keeps it for the next (onnxruntime/core/framework/session_state.cc,
    `AcquireDeviceStreamCollection`); the CUDA provider creates each stream, non-blocking, with its cuBLAS and cuDNN
    handles (onnxruntime/core/providers/cuda/cuda_stream_handle.cc). So every run slot has a stream in each session,
    unless the session has a user's stream or CUDA graphs: these share one stream.
    """

    def __init__(self, kind: Literal["cpu", "cuda"], index: int, open_model: Callable[[bytes], Any]) -> None:
        """Prepare device `index` of a kind; `open_model` opens an `InferenceSession` on it."""
        self.kind, self.index = kind, index
        self.turns = Turns()
        self.host = HostBuffers(index, cuda_runtime() if kind == "cuda" else None)
        self._open_model = open_model
        self._lookups: dict[Layout, Any] = {}
        self._lookups_lock = threading.Lock()
        self._tables: WeakKeyDictionary[PixelTable, dict[str, ort.OrtValue]] = WeakKeyDictionary()
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._starter.submit(_nothing)

    @property
    def arena(self) -> str:
        """The name of its memory in ONNX Runtime's options of a run."""
        return f"{'gpu' if self.kind == 'cuda' else 'cpu'}:{self.index}"

    def thread(self, name: str) -> ThreadPoolExecutor:
        """Return a new thread, which ends once the executor is dropped.

        On Linux a thread has the priority of the one that starts it. A loader has given way to predictions, and what
        it starts for them must not; so all are started by one that is as old as the device.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._starter.submit(executor.submit, _nothing).result()
        return executor

    def empty(self, shape: tuple[int, ...], dtype: Any) -> ort.OrtValue:
        """Return a value in the device's memory whose content is undefined; `dtype` is numpy's, or ONNX's number."""
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, self.kind, self.index)

    def value(self, feed: Feed, options: ort.RunOptions | None, into: ort.OrtValue | None = None) -> ort.OrtValue:
        """Return a feed as a value of the device, written into `into` if that is given. Needs a turn.

        The copy is over when this returns: ONNX Runtime waits for it (`cudaMemcpy_HostToDevice` in
        onnxruntime/core/providers/cuda/cuda_provider_factory.cc).
        """
        if isinstance(feed, PixelFeed):
            return self._looked_up(feed, options, into)
        if isinstance(feed, ort.OrtValue):
            return feed
        return self._copied((feed,), into)

    def _copied(self, parts: tuple[Array, ...], into: ort.OrtValue | None = None) -> ort.OrtValue:
        """Copy arrays, one behind the other, through a buffer of the host."""
        shape = (sum(map(len, parts)), *parts[0].shape[1:])
        value = into if into is not None else self.empty(shape, parts[0].dtype.type)
        with self.host.borrow(sum(part.nbytes for part in parts)) as buffer:
            staged = buffer.view(parts[0].dtype).reshape(shape)
            np.concatenate(parts, out=staged)
            value.update_inplace(staged)
        return value

    def _looked_up(self, feed: PixelFeed, options: ort.RunOptions | None, into: ort.OrtValue | None) -> ort.OrtValue:
        """Return the tensor `input` of pixels, which only cross to the device as bytes."""
        lookup = self._lookup(feed.table.layout)
        value = into if into is not None else self.empty(feed.tensor_shape, np.float32)
        binding = lookup.io_binding()
        binding.bind_ortvalue_input("pixels", self._copied(feed.parts))
        for name, part in self._table(feed.table).items():
            binding.bind_ortvalue_input(name, part)
        binding.bind_ortvalue_output("input", value)
        lookup.run_with_iobinding(binding, options)
        return value

    def _lookup(self, layout: Layout) -> Any:
        with self._lookups_lock:
            if layout not in self._lookups:
                self._lookups[layout] = self._open_model(pixel_model(layout))
            return self._lookups[layout]

    def _table(self, table: PixelTable) -> dict[str, ort.OrtValue]:
        with self._lookups_lock:
            if table not in self._tables:
                self._tables[table] = {name: self._copied((array,)) for name, array in table_inputs(table).items()}
            return self._tables[table]


def _nothing() -> None:
    """Do nothing: a thread begins with its first task."""
