"""One graph that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.runtime.runs import RunCancelled, RunHandle


class Session:
    """One graph that is ready to run; several threads may call `run` at the same time."""

    takes_pixels = False
    """True if the input may be given as pixels (`PixelFeed`)."""
    arena = "cpu:0"
    """The memory of its runs, as `RunHandle` names it."""

    def __init__(
        self,
        session: ort.InferenceSession,
        open_widened: Callable[[Path], tuple[Any | None, Any] | None] | None = None,
        most_threads: int = 1,
    ) -> None:
        """Run `session`.

        Args:
            session: the graph, opened for runs of one thread.
            open_widened: opens the graph in a file for runs of one thread and of several; None for the first if
                `session` is to stay, None for both if there can be no runs of several.
            most_threads: their number.
        """
        self._session = session
        self._wide: Any = None
        """The same graph for runs of several threads."""
        self._open_widened = open_widened
        self.most_threads = most_threads
        """Threads of a run of several; 1 if there can be none."""
        self.inputs = tuple(tensor.name for tensor in session.get_inputs())
        self.outputs = tuple(tensor.name for tensor in session.get_outputs())
        self.input_shapes: dict[str, list[Any]] = {tensor.name: tensor.shape for tensor in session.get_inputs()}
        self.provider: str = session.get_providers()[0]

    @property
    def recorded(self) -> tuple[int, ...]:
        """Batch sizes whose runs are recorded as CUDA graphs, the smallest first."""
        return ()

    def open_widened(self, graph: Path) -> tuple[Session, Session] | None:
        """Open the graph for runs of one thread and of several; None where there can be none of several.

        Args:
            graph: a file with the graph of this session.

        Raises:
            Exception: whatever the runtime and the system raise.
        """
        pair = None if self._open_widened is None else self._open_widened(graph)
        return None if pair is None else (Session(pair[0] or self._session), Session(pair[1]))

    def widen(self, one: Session, several: Session) -> None:
        """From now on run what `open_widened` has opened; a run takes several threads where its handle says so."""
        self._session, self._wide = one._session, several._session

    def record(self, feeds: Mapping[str, Any]) -> bool:
        """Record runs of the batch size of `feeds` as a CUDA graph; return whether that was done."""
        return False

    def forget(self, size: int) -> None:
        """Run batches of this size without their recording."""

    def hold(self, feeds: Mapping[str, Any], handle: RunHandle | None = None) -> Mapping[str, Any]:
        """Return inputs of several runs as `run` takes them fastest."""
        return feeds

    def run(self, feeds: Mapping[str, Any], handle: RunHandle | None = None) -> dict[str, Array]:
        """Run the graph and return all its outputs by name.

        Raises:
            RunCancelled: `handle` was stopped, before the run or during it.
            Exception: whatever the runtime raises for these inputs.
        """
        wide = self._wide if handle is not None and handle.wide else None
        session = self._session if wide is None else wide
        try:
            values = session.run(self.outputs, feeds, handle._options if handle is not None else None)
        except Exception as error:
            if handle is not None and handle.stopped:
                raise RunCancelled from error
            raise
        return dict(zip(self.outputs, values, strict=True))


def zeros_for(session: Session, batch: int) -> dict[str, Array]:
    """Return inputs of the right shapes for a warm-up run: zeros as images, the predicted class, scale 1.

    An explanation goes the whole way, to the image.
    """
    feeds: dict[str, Array] = {}
    for name, shape in session.input_shapes.items():
        dimensions = (batch, *shape[1:])
        if name == "layer":
            feeds[name] = np.full(1, -1, dtype=np.int64)
        elif name == "label":
            feeds[name] = np.full(dimensions, -1, dtype=np.int64)
        else:
            feeds[name] = np.full(dimensions, 1.0 if name == "cotangent_scale" else 0.0, dtype=np.float32)
    return feeds
