"""Runs that are recorded as CUDA graphs, one for each batch size, and played again: no kernel is launched one by one.

What ONNX Runtime asks for, by its page on the CUDA provider ("Using CUDA Graphs (Preview)") and its sources:

- The session is opened with `enable_cuda_graph`, and every node runs on the GPU; else it does not open.
- Inputs and outputs stay at the addresses of the recording, so each size has values of its own.
- Runs of the session take turns: they share its stream and the memory of what is computed in between. That memory is
  used by nobody else only if the session has its own arena, which must not shrink.
- A recording belongs to the thread that made it (`PerThreadContext` in onnxruntime/core/providers/cuda/
  cuda_execution_provider.cc), so one thread records and plays all runs of a session.
- One call of `run` does the runs that come before a recording, records, and plays. Meanwhile no other thread may use
  the device (`Turns`).

A batch between two recorded sizes is filled up to the larger by repeating its last image. A plain run of it would cost
more: a convolution of the CUDA provider keeps cuDNN's plan of one batch size only, and makes a new one whenever the
size differs from the run before (`Conv::UpdateState` in onnxruntime/core/providers/cuda/nn/conv.cc, and
microsoft/onnxruntime#23006).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.runtime.device import Device, Feed
from service.contract.runtime.pixel_graph import PixelFeed

GRAPH_ID: Final = "gpu_graph_id"
"""Option of a run: which recording it makes or plays; each batch size has its own number."""
NO_GRAPH: Final = "-1"


@dataclass(frozen=True)
class _Recording:
    """A run of one size, with the values that it reads; its binding holds them, and those that it writes."""

    inputs: dict[str, ort.OrtValue]
    binding: Any
    options: ort.RunOptions


class RecordedRuns:
    """The recorded runs of one graph, in a session of their own."""

    def __init__(self, open_session: Callable[[], Any], outputs: tuple[str, ...], device: Device) -> None:
        """Open the session by `open_session`; raise whatever that raises."""
        self._outputs, self._device = outputs, device
        self._recordings: dict[int, _Recording] = {}
        self._playing = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorded-runs")
        self._session = self._thread.submit(self._opened, open_session).result()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that are recorded, the smallest first."""
        return tuple(sorted(self._recordings))

    def record(self, feeds: Mapping[str, Feed]) -> None:
        """Record runs of the batch size of `feeds`; raise whatever the runtime raises."""
        with self._playing:
            self._recordings[size_of(feeds)] = self._thread.submit(self._record, feeds).result()

    def forget(self, size: int) -> None:
        """Play runs of this size no more."""
        with self._playing:
            self._recordings.pop(size, None)

    def fitting(self, feeds: Mapping[str, Feed]) -> int | None:
        """Return the smallest recorded size that holds the batch of `feeds`; None if there is none."""
        size = size_of(feeds)
        return next((recorded for recorded in self.sizes if 0 < size <= recorded), None)

    def play(self, feeds: Mapping[str, Feed]) -> dict[str, Array] | None:
        """Return the outputs by name, one row per image; None if no recorded size holds the batch."""
        with self._playing:
            fitting = self.fitting(feeds)
            if fitting is None:
                return None
            size = size_of(feeds)
            filled = {name: filled_up(feed, fitting) for name, feed in feeds.items()} if size < fitting else feeds
            outputs = self._thread.submit(self._play, self._recordings[fitting], filled).result()
        # A size above 1 is recorded only of graphs in which no samples mix, so that every output has a row per image.
        return {name: value[:size] for name, value in outputs.items()} if size < fitting else outputs

    def close(self) -> None:
        """Drop everything, in the thread that made it."""
        with self._playing:
            self._recordings.clear()
            self._thread.submit(self._drop).result()
        self._thread.shutdown()

    def _opened(self, open_session: Callable[[], Any]) -> Any:
        with self._device.turns.shared():
            return open_session()

    def _drop(self) -> None:
        with self._device.turns.shared():
            self._session = None

    def _record(self, feeds: Mapping[str, Feed]) -> _Recording:
        with self._device.turns.shared():
            inputs = {name: self._device.value(feed, None) for name, feed in feeds.items()}
            outputs = self._values_like_outputs(inputs)
            binding = self._session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            for name, value in outputs.items():
                binding.bind_ortvalue_output(name, value)
        options = _options(str(size_of(feeds)))
        with self._device.turns.alone():
            self._session.run_with_iobinding(binding, options)
        return _Recording(inputs, binding, options)

    def _values_like_outputs(self, inputs: Mapping[str, ort.OrtValue]) -> dict[str, ort.OrtValue]:
        """Run once without recording, and return values of the shapes and types that come out."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._device.kind, self._device.index)
        self._session.run_with_iobinding(binding, _options(NO_GRAPH))
        found = zip(self._outputs, binding.get_outputs(), strict=True)
        return {name: self._device.empty(tuple(value.shape()), value.element_type()) for name, value in found}

    def _play(self, recording: _Recording, feeds: Mapping[str, Feed]) -> dict[str, Array]:
        with self._device.turns.shared():
            for name, feed in feeds.items():
                self._device.value(feed, None, recording.inputs[name])
            self._session.run_with_iobinding(recording.binding, recording.options)
            return dict(zip(self._outputs, recording.binding.copy_outputs_to_cpu(), strict=True))


def size_of(feeds: Mapping[str, Any]) -> int:
    """Return the batch size of inputs; 0 if they are in the device's memory already."""
    images = feeds["input"]
    return 0 if isinstance(images, ort.OrtValue) else len(images)


def filled_up(feed: Feed, size: int) -> Feed:
    """Repeat the last row of an input of the host until there are `size` rows."""
    if isinstance(feed, PixelFeed):
        last = feed.parts[-1][-1:]
        return PixelFeed((*feed.parts, np.repeat(last, size - len(feed), axis=0)), feed.table)
    assert isinstance(feed, np.ndarray), "what is in the device's memory has its size"
    return np.concatenate([feed, np.repeat(feed[-1:], size - len(feed), axis=0)])


def _options(graph: str) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, graph)
    return options
