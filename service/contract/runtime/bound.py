"""A session on a device with memory of its own: inputs and outputs are bound to that memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.runtime.device import Device, Feed
from service.contract.runtime.runs import RunCancelled, RunHandle
from service.contract.runtime.session import Session


class BoundSession(Session):
    """One graph on a device. Inputs are copied to it once, however often they run; outputs are copied back once."""

    takes_pixels = True

    def __init__(self, session: ort.InferenceSession, device: Device) -> None:
        super().__init__(session)
        self._device = device
        self.arena = device.arena

    def hold(self, feeds: Mapping[str, Feed], handle: RunHandle | None = None) -> Mapping[str, Feed]:
        """Copy inputs of several runs to the device.

        Raises:
            RunCancelled: `handle` was stopped.
            Exception: whatever the runtime raises for these inputs.
        """
        options = handle._options if handle is not None else None
        try:
            with self._device.turns.shared():
                return {name: self._device.value(feed, options) for name, feed in feeds.items()}
        except Exception as error:
            if handle is not None and handle.stopped:
                raise RunCancelled from error
            raise

    def run(self, feeds: Mapping[str, Feed], handle: RunHandle | None = None) -> dict[str, Array]:
        """Run the graph and return all its outputs by name, in memory of the host.

        Raises:
            RunCancelled: `handle` was stopped, before the run or during it.
            Exception: whatever the runtime raises for these inputs.
        """
        try:
            with self._device.turns.shared():
                return self._run_bound(feeds, handle._options if handle is not None else None)
        except Exception as error:
            if handle is not None and handle.stopped:
                raise RunCancelled from error
            raise

    def _run_bound(self, feeds: Mapping[str, Feed], options: Any) -> dict[str, Array]:
        # A binding keeps the outputs of its last run, and would write the next into them whatever their size.
        binding = self._session.io_binding()
        for name, feed in feeds.items():
            binding.bind_ortvalue_input(name, self._device.value(feed, options))
        for name in self.outputs:
            binding.bind_output(name, self._device.kind, self._device.index)
        # The run ends when the device has finished: ONNX Runtime synchronises its streams unless told otherwise.
        self._session.run_with_iobinding(binding, options)
        return dict(zip(self.outputs, binding.copy_outputs_to_cpu(), strict=True))
