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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.runtime.gpu.device import Device, Feed
from service.contract.runtime.gpu.pixel_graph import PixelFeed

GRAPH_ID: Final = "gpu_graph_id"
"""Option of a run: the number of the recording that it makes, or plays if there is one of that number."""
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
        # Only the thread changes this, and puts a new table in its place, so that others may read it at any time.
        self._recordings: Mapping[int, _Recording] = {}
        self._numbers = count(1)
        self._thread = device.thread("recorded-runs")
        self._session = self._thread.submit(self._opened, open_session).result()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes that are recorded, the smallest first."""
        return tuple(sorted(self._recordings))

    def record(self, feeds: Mapping[str, Feed]) -> None:
        """Record runs of the batch size of `feeds`; raise whatever the runtime raises."""
        self._thread.submit(self._record, feeds).result()

    def forget(self, size: int) -> None:
        """Play runs of this size no more."""
        self._thread.submit(self._forget, size).result()

    def fitting(self, feeds: Mapping[str, Feed]) -> int | None:
        """Return the smallest recorded size that holds the batch of `feeds`; None if there is none."""
        size = size_of(feeds)
        return next((recorded for recorded in self.sizes if 0 < size <= recorded), None)

    def play(self, feeds: Mapping[str, Feed]) -> dict[str, Array] | None:
        """Return the outputs by name, one row per image; None if no recorded size holds the batch."""
        return self._thread.submit(self._play, feeds).result() if self.fitting(feeds) is not None else None

    def close(self) -> None:
        """Drop everything, in the thread that made it; from then on nothing is played."""
        self._thread.submit(self._drop).result()

    def _opened(self, open_session: Callable[[], Any]) -> Any:
        with self._device.turns.shared():
            return open_session()

    def _drop(self) -> None:
        with self._device.turns.shared():
            self._recordings = {}
            self._session = None

    def _forget(self, size: int) -> None:
        self._recordings = {recorded: one for recorded, one in self._recordings.items() if recorded != size}

    def _record(self, feeds: Mapping[str, Feed]) -> None:
        with self._device.turns.shared():
            inputs = {name: self._device.value(feed, None) for name, feed in feeds.items()}
            outputs = self._values_like_outputs(inputs)
            binding = self._session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            for name, value in outputs.items():
                binding.bind_ortvalue_output(name, value)
        # ONNX Runtime keeps what it recorded under a number, and would play that again on memory that is free by now.
        options = _options(str(next(self._numbers)))
        with self._device.turns.alone():
            self._session.run_with_iobinding(binding, options)
        self._recordings = {**self._recordings, size_of(feeds): _Recording(inputs, binding, options)}

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

    def _play(self, feeds: Mapping[str, Feed]) -> dict[str, Array] | None:
        if (fitting := self.fitting(feeds)) is None:  # forgotten since the run was asked for
            return None
        recording, size = self._recordings[fitting], size_of(feeds)
        with self._device.turns.shared():
            for name, feed in feeds.items():
                self._device.value(filled_up(feed, fitting), None, recording.inputs[name])
            self._session.run_with_iobinding(recording.binding, recording.options)
            outputs = dict(zip(self._outputs, recording.binding.copy_outputs_to_cpu(), strict=True))
        # A size above 1 is recorded only of graphs in which no samples mix, so that every output has a row per image.
        return {name: value[:size] for name, value in outputs.items()} if size < fitting else outputs


def size_of(feeds: Mapping[str, Any]) -> int:
    """Return the batch size of inputs; 0 if they are in the device's memory already."""
    images = feeds["input"]
    return 0 if isinstance(images, ort.OrtValue) else len(images)


def filled_up(feed: Feed, size: int) -> Feed:
    """Repeat the last row of an input of the host until there are `size` rows."""
    assert not isinstance(feed, ort.OrtValue), "what is in the device's memory has its size"
    missing = size - len(feed)
    if not missing:
        return feed
    if isinstance(feed, PixelFeed):
        return PixelFeed((*feed.parts, np.repeat(feed.parts[-1][-1:], missing, axis=0)), feed.table)
    return np.concatenate([feed, np.repeat(feed[-1:], missing, axis=0)])


def _options(graph: str) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, graph)
    return options
