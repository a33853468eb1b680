"""Captures a training step in a CUDA graph: one launch in place of the thousands of a deep net's small layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch

EAGER_STEPS = 3
"""Steps taken one kernel at a time before the capture: cuDNN's search and the first allocations cannot be captured."""


class Replayed:
    """Takes the first steps as they are, and every later one by replaying a CUDA graph of one of them.

    Every step counts, those before the capture too; the capture itself computes nothing. Where it fails, this is said
    once, and all steps are taken as they are.
    """

    def __init__(self, device: torch.device, take: Callable[[], None], forget_gradients: Callable[[], None]) -> None:
        self._take, self._forget_gradients = take, forget_gradients
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._failed = False

    def __call__(self) -> None:
        """Take the next step."""
        if self._graph is None and self._taken >= EAGER_STEPS and not self._failed:
            self._graph = self._captured()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._taken += 1
            # On the stream of the capture: autograd ties each parameter to the stream that it first saw.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._take()
            torch.cuda.current_stream().wait_stream(self._stream)

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # Gradients must come from the graph's own memory.
        self._forget_gradients()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._take()
        except Exception as error:  # whatever a driver or a kernel refuses, training goes on without a graph
            # A capture that fails to end leaves its stream as the current one.
            torch.cuda.set_stream(before)
            with suppress(RuntimeError):  # the fault of the capture may be told once more
                torch.cuda.synchronize()
            self._forget_gradients()
            self._failed = True
            print(f"no CUDA graph, so steps are launched one kernel at a time: {error}", flush=True)
            return None
        return graph
