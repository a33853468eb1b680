"""Run every graph of a bundle as the service will, before the bundle is written.

A valid graph can load and still fail: a Reshape that fits one batch size only, a kernel that ONNX Runtime
lacks for these types, a fusion that breaks. So each graph is opened from disk with the service's options
and run at two batch sizes, and its outputs must have the shapes that `service.contract.outputs` gives. One that
explains is run for the image, and for the first and the last layer with a map.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from itertools import cycle, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.graph.errors import one_line
from export.graph.names import MAP
from service.contract.bundle_schema import Bundle, GraphName
from service.contract.outputs import ROWS
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunHandle
from service.contract.runtime.session import Session, zeros_for

BATCHES = (1, 3)


class Trial:
    """Runs the graphs of `bundle` that lie in `folder`, opened as the service opens them; those of `kept` once."""

    def __init__(
        self, bundle: Bundle, graphs: Iterable[GraphName], folder: Path, kept: Collection[GraphName] = ()
    ) -> None:
        self._bundle, self._graphs, self._folder, self._kept = bundle, tuple(graphs), folder, kept
        self._runtime = Runtime("cpu")
        self._sessions: dict[GraphName, Session] = {}

    def open(self, name: GraphName) -> Session:
        """Open a graph with the service's options; raises whatever ONNX Runtime raises if it cannot load it."""
        if name in self._sessions:
            return self._sessions[name]
        session = self._runtime.open(self._folder / f"{name}.onnx")
        if name in self._kept:
            self._sessions[name] = session
        return session

    def failures(self) -> dict[GraphName, str]:
        """Run every graph; return the reason, in one line, for each that cannot be served."""
        return {name: reason for name in self._graphs if (reason := self._failure(name))}

    def _failure(self, name: GraphName) -> str | None:
        try:
            session = self.open(name)
        except Exception as error:  # ONNX Runtime's errors have no common class
            return f"it does not load: {one_line(error)}"
        for batch, chosen in product(BATCHES, self._choices(session)):
            try:
                outputs = session.run(zeros_for(session, batch) | chosen, RunHandle(quiet=True))
            except Exception as error:
                return f"it does not run at batch {batch}: {one_line(error)}"
            for output, value in outputs.items():
                if not self._fits(output, value.shape, batch, chosen):
                    return f"at batch {batch} its {output} has shape {list(value.shape)}"
        return None

    def _choices(self, session: Session) -> list[dict[str, NDArray[np.int64]]]:
        """Return the values of `layer` that are tried: the image, and the first and the last layer with a map."""
        if "layer" not in session.inputs:
            return [{}]
        mapped = [index for index, layer in enumerate(self._bundle.layers) if layer.map_size]
        return [{"layer": np.array([index])} for index in dict.fromkeys((-1, *mapped[:1], *mapped[-1:]))]

    def _fits(self, output: str, shape: tuple[int, ...], batch: int, chosen: Mapping[str, NDArray[np.int64]]) -> bool:
        """Tell whether an output of this shape is in the table of outputs; a map's size depends on its layer."""
        if output.startswith(MAP):
            return len(shape) == 4 and shape[0] == batch
        if output in ("layer_evidence", "logit_gradient"):
            return shape == (batch, self._numbers_explained(output, int(chosen["layer"][0])))
        return output in ROWS and shape == ROWS[output].shape_in(self._bundle, batch)

    def _numbers_explained(self, output: str, layer: int) -> int:
        """Return how many numbers of a sample an explanation has where a layer, or the image (-1), is asked for."""
        if output == "logit_gradient":
            return math.prod(self._bundle.input.image_shape) if layer < 0 else 0
        return math.prod((layer >= 0 and self._bundle.layers[layer].map_size) or (0,))

    def logits(self, images: NDArray[np.float32], graph: GraphName = "forward") -> np.ndarray:
        """Return a graph's logits [M, K] of the tensor `input` [M, …], run in batches of `BATCHES` by turns."""
        session = self.open(graph)
        answers, sizes = [], cycle(BATCHES)
        while len(images):
            part, images = np.split(images, [next(sizes)])
            answers.append(session.run({**zeros_for(session, len(part)), "input": part})["logits"])
        return np.concatenate(answers)
