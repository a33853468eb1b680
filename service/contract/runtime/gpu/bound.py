"""A session on a device with memory of its own: inputs and outputs are bound to that memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.runtime.gpu.device import Device, Feed
from service.contract.runtime.gpu.recorded import RecordedRuns
from service.contract.runtime.runs import RunCancelled, RunHandle, shortage
from service.contract.runtime.session import Session, zeros_for

log = logging.getLogger("contraflow.runtime")

AGREEMENT: Final = 1e-3
"""Most difference of a recorded run from a plain one, as a part of the largest number of an output."""


class BoundSession(Session):
    """One graph on a device. Inputs are copied to it once, however often they run; outputs are copied back once."""

    takes_pixels = True

    def __init__(
        self,
        session: ort.InferenceSession,
        device: Device,
        open_recording: Callable[[], Any] | None = None,
        called: str = "a graph",
    ) -> None:
        """Run on `device`.

        Args:
            session: the graph, opened on the device.
            device: the device.
            open_recording: opens the graph once more for runs that are recorded as CUDA graphs, if that is wanted.
            called: the graph's name in the log.
        """
        super().__init__(session)
        self._device = device
        self.arena = device.arena
        self._open_recording = open_recording
        self._called = called
        self._recordings: RecordedRuns | None = None

    @property
    def recorded(self) -> tuple[int, ...]:
        recordings = self._recordings
        return recordings.sizes if recordings is not None else ()

    def record(self, feeds: Mapping[str, Feed]) -> bool:
        """Record runs of the batch size of `feeds`, and compare one with a plain run; return whether they agree.

        A graph that takes a `layer` is not recorded: it decides during the run what to compute.

        After a failure nothing is recorded any more, and the log says why. Where memory was short, smaller sizes keep
        their recordings if these still agree.
        """
        if self._open_recording is None or "layer" in self.inputs:
            return False
        try:
            if self._recordings is None:
                self._recordings = RecordedRuns(self._open_recording, self.outputs, self._device)
            self._recordings.record(feeds)
            self._check_recordings()  # a new recording must leave the others as they were
        except Exception as error:
            if not (shortage(error, on_a_gpu=True) and self._keeps_recordings(error)):
                self._record_no_more(error)
            return False
        return True

    def forget(self, size: int) -> None:
        recordings = self._recordings
        if recordings is None:
            return
        recordings.forget(size)
        if not recordings.sizes:
            self._close_recordings()

    def hold(self, feeds: Mapping[str, Feed], handle: RunHandle | None = None) -> Mapping[str, Feed]:
        """Copy inputs of several runs to the device; those of runs that play a recording are copied by each.

        Raises:
            RunCancelled: `handle` was stopped.
            Exception: whatever the runtime raises for these inputs.
        """
        recordings = self._recordings  # another thread may close them meanwhile
        if recordings is not None and recordings.fitting(feeds) is not None:
            return feeds
        with self._turn(handle) as options:
            return {name: self._device.value(feed, options) for name, feed in feeds.items()}

    def run(self, feeds: Mapping[str, Feed], handle: RunHandle | None = None) -> dict[str, Array]:
        """Run the graph and return all its outputs by name, in memory of the host.

        A run that plays a recording is over in a moment, and is not stopped.

        Raises:
            RunCancelled: `handle` was stopped, before the run or during it.
            Exception: whatever the runtime raises for these inputs.
        """
        recordings = self._recordings
        if recordings is None or (handle is not None and (handle.shrinks or handle.stopped)):
            return self._run_plainly(feeds, handle)
        try:
            outputs = recordings.play(feeds)
        except Exception as error:
            outputs = self._run_plainly(feeds, handle)  # if this fails too, the recording is not at fault
            self._record_no_more(error)
        return outputs if outputs is not None else self._run_plainly(feeds, handle)

    def _run_plainly(self, feeds: Mapping[str, Feed], handle: RunHandle | None = None) -> dict[str, Array]:
        with self._turn(handle) as options:
            # A binding keeps the outputs of its last run, and would write the next into them whatever their size.
            binding = self._session.io_binding()
            for name, feed in feeds.items():
                binding.bind_ortvalue_input(name, self._device.value(feed, options))
            for name in self.outputs:
                binding.bind_output(name, self._device.kind, self._device.index)
            # The run ends when the device has finished: ONNX Runtime synchronises its streams unless told otherwise.
            self._session.run_with_iobinding(binding, options)
            return dict(zip(self.outputs, binding.copy_outputs_to_cpu(), strict=True))

    @contextmanager
    def _turn(self, handle: RunHandle | None) -> Iterator[ort.RunOptions | None]:
        """Work on the device beside others, by the options of the run; raise `RunCancelled` once it was stopped."""
        try:
            with self._device.turns.shared():
                yield handle._options if handle is not None else None
        except Exception as error:
            if handle is not None and handle.stopped:
                raise RunCancelled from error
            raise

    def _keeps_recordings(self, error: Exception) -> bool:
        """Record no further size; return whether there are recordings that still agree with plain runs."""
        self._open_recording = None
        try:
            self._check_recordings()
        except Exception:
            return False
        if self.recorded:
            log.warning("%s: no CUDA graphs beyond batch %d: %s", self._called, self.recorded[-1], str(error).strip())
        return bool(self.recorded)

    def _check_recordings(self) -> None:
        for size in reversed(self.recorded):  # the new one first: a plain run of that size has just been planned
            self._check_recording(size)

    def _check_recording(self, size: int) -> None:
        """Play other images than were recorded; raise `ArithmeticError` if a plain run gives something else."""
        assert self._recordings is not None
        feeds = zeros_for(self, size)
        feeds["input"] = np.random.default_rng(size).normal(size=feeds["input"].shape).astype(np.float32)
        expected, found = self._run_plainly(feeds), self._recordings.play(feeds)
        for name, value in expected.items():
            largest = float(np.max(np.abs(value), initial=0.0, where=np.isfinite(value)))
            if found is None or not np.allclose(
                found[name], value, rtol=AGREEMENT, atol=AGREEMENT * largest, equal_nan=True
            ):
                raise ArithmeticError(f"the output {name} of a recorded run of {size} differs from a plain run's")

    def _record_no_more(self, error: Exception) -> None:
        if self._open_recording is None and self._recordings is None:
            return  # another thread met the fault first, and said why
        self._open_recording = None
        log.warning("%s runs without CUDA graphs: %s: %s", self._called, type(error).__name__, error)
        self._close_recordings()

    def _close_recordings(self) -> None:
        recordings, self._recordings = self._recordings, None
        if recordings is not None:
            recordings.close()
