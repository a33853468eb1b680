"""One served model: the state of each of its graphs, and how its bundle describes it."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from service.bundles.disk import StoredBundle
from service.contract.bundle_schema import Bundle, GraphName, InputSpec
from service.contract.label_kinds import EXCLUSIVE, LabelKind, kind_called
from service.contract.outputs import mixes_samples
from service.contract.runtime.session import Session
from service.errors import InvalidParameter, NotReady

RECORDS: Final = frozenset({"training", "parity"})
"""Fields of a bundle's description that are only shown, and not computed with."""

ASSUMED_SECONDS_PER_IMAGE: Final = 0.01
"""Speed of a graph that was never measured."""

GraphState = Literal["unloaded", "loading", "ready", "failed"]


class WideSpeed(NamedTuple):
    """How fast a graph is on several threads."""

    threads: int
    seconds: float
    """Seconds of a run of one image."""


class LayerTimes:
    """What part of its time a graph takes if it computes only down to a layer.

    Before such a run was timed: what the forward pass takes, and of the rest as much as the network is deeper than the
    layer.
    """

    def __init__(self, forward: ServedGraph, depths: Sequence[int]) -> None:
        """`depths` are those of the bundle's layers."""
        self.learnt: dict[int, float] = {}
        """Layer → the part, once it was timed."""
        self._forward = forward
        self._above = [1 - depth / max(depths) for depth in depths]

    def part(self, layer: int, whole: float) -> float:
        """Return the part, above 0, of the `whole` graph's seconds per image."""
        if layer in self.learnt:
            return self.learnt[layer]
        forwards = min(1.0, self._forward.seconds_per_image / whole)
        return forwards + (1 - forwards) * self._above[layer]


class ServedGraph:
    """One graph of one served model: its state, its session once it is loaded, and its speed."""

    def __init__(self, model: str, name: GraphName, spec: InputSpec, label_kind: LabelKind = EXCLUSIVE) -> None:
        self.model = model
        self.name: GraphName = name
        self.spec = spec
        self.label_kind = label_kind
        self.diagnostic = name != "forward"
        self.exclusive = mixes_samples(name)
        """True if samples mix in it: requests must not share a run, and one request must not be cut into several."""
        self.session: Session | None = None
        self.state: GraphState = "unloaded"
        self.lock = threading.Lock()
        """Held while the graph is being loaded."""
        self.asked_for = False
        """True once a request has waited for it; it is then loaded before others."""
        self.failure: str | None = None
        self.failures = 0
        """Failures in a row, for reasons that may pass."""
        self.retry_at: float | None = None
        """Time from which a failed graph may be tried again, on the monotonic clock; None: never."""
        self.best_batch = 1
        self.seconds_per_image = ASSUMED_SECONDS_PER_IMAGE
        self.wide: WideSpeed | None = None
        """How fast a lone run is on several threads; None where it is no faster than on one, or not measured yet."""
        self.layer_times: LayerTimes | None = None
        """Of a graph that computes down to the layer asked for: what part of its time that takes."""
        self.retired = False

    def open(self, session: Session, best_batch: int, seconds_per_image: float) -> None:
        self.session, self.wide = session, None
        self.best_batch, self.seconds_per_image = best_batch, seconds_per_image
        self.failure, self.failures, self.retry_at = None, 0, None
        self.state = "ready"

    @property
    def most_images(self) -> int:
        """Most images of a run: the best number, and no more than the largest recorded size where there is one.

        A run beyond that would plan its convolutions anew, which on a GPU takes far longer than the run.
        """
        recorded = self.session.recorded if self.session is not None else ()
        return min(self.best_batch, recorded[-1]) if recorded else self.best_batch

    def fail(self, reason: str, retry_after: float | None = None) -> None:
        """Record that loading failed; it may be tried again after `retry_after` seconds, or never (None)."""
        self.failure = reason
        self.failures += 1
        self.retry_at = None if retry_after is None else time.monotonic() + retry_after
        self.state = "failed"

    def put_off(self) -> None:
        """Leave the graph unloaded until its next use."""
        self.state = "unloaded"

    def may_load(self, now: float) -> bool:
        """Return whether it makes sense to load the graph at `now` (monotonic clock)."""
        failed_for_now = self.state == "failed" and self.retry_at is not None and now >= self.retry_at
        return self.state == "unloaded" or failed_for_now

    def check_ready(self) -> None:
        """Raise `NotReady` unless the graph can run."""
        if self.state == "failed":
            wait = None if self.retry_at is None else max(1.0, self.retry_at - time.monotonic())
            raise NotReady(f"{self.model}: {self.failure}.", retry_after=wait)
        if self.state != "ready":
            raise NotReady(f"The graph {self.name} of {self.model} is still loading.")

    def seconds_at(self, layer: int | None) -> float:
        """Return the seconds per image of runs down to a layer, by its place in `Bundle.layers`.

        None, and −1 for the image itself: the whole graph, whose speed is measured when it is loaded.
        """
        return self.seconds_per_image * self.part_of_time(layer)

    def part_of_time(self, layer: int | None) -> float:
        """Return what part of the whole graph's time runs down to a layer take, above 0."""
        if layer is None or layer < 0 or self.layer_times is None:
            return 1.0
        return self.layer_times.part(layer, self.seconds_per_image)

    def learn(self, images: int, seconds: float, layer: int | None = None) -> None:
        """Correct the seconds per image by a run of `images`, down to `layer`, that took `seconds`.

        A large batch counts more than a small one, and a slow run more than a fast one: too low an estimate accepts
        requests that will be late, too high a one only refuses some too early.
        """
        known = self.seconds_at(layer)
        change = seconds / images - known
        learnt = known + change * images / (images + (8 if change > 0 else 32))
        if layer is None or layer < 0 or self.layer_times is None:
            self.seconds_per_image = learnt
        else:
            self.layer_times.learnt[layer] = learnt / self.seconds_per_image


class ServedModel:
    """One version of one bundle while it is served."""

    def __init__(self, stored: StoredBundle, execution_provider: str) -> None:
        light = stored.bundle.model_copy(update={"training": None, "parity": ()})
        self.stored = replace(stored, bundle=light)
        self.bundle: Bundle = light
        """Description of the bundle without its `RECORDS`."""
        # The standard library's JSON keeps NaN, pydantic's does not.
        records = json.dumps(stored.bundle.model_dump(include=set(RECORDS)))
        self._records = zlib.compress(records.encode(), level=1)
        self.digest = stored.digest
        self.name = stored.bundle.name
        self.version = stored.bundle.version
        self.full_name = f"{self.name}@{self.version}"
        self.execution_provider = execution_provider
        self.graphs: Mapping[GraphName, ServedGraph] = MappingProxyType(
            {name: self._served_graph(name) for name in self.bundle.graphs}
        )
        if "explanation" in self.graphs and self.bundle.layers:
            depths = [layer.depth for layer in self.bundle.layers]
            self.graphs["explanation"].layer_times = LayerTimes(self.graphs["forward"], depths)

    def _served_graph(self, name: GraphName) -> ServedGraph:
        kind = kind_called(self.bundle.label_kind)
        return ServedGraph(self.full_name, name, self.bundle.input, kind)

    def records(self) -> dict[str, Any]:
        """Return how the model was trained and verified. Most of a description's size, so it is kept compressed."""
        found: dict[str, Any] = json.loads(zlib.decompress(self._records))
        return found

    def has(self, graph: GraphName) -> bool:
        return graph in self.graphs

    def graph(self, name: GraphName) -> ServedGraph:
        """Return a graph in whatever state it is.

        Raises:
            InvalidParameter: the bundle has no such graph.
        """
        graph = self.graphs.get(name)
        if graph is None:
            raise InvalidParameter(f"The bundle of {self.name} has no graph {name}.")
        return graph

    @property
    def ready(self) -> bool:
        """True if it predicts; the graphs for diagnostics have their own states."""
        return self.graphs["forward"].state == "ready"

    @property
    def loading(self) -> bool:
        """True while it does not predict yet; a model that failed to load is not loading."""
        return self.graphs["forward"].state in ("unloaded", "loading")

    def retire(self) -> None:
        for graph in self.graphs.values():
            graph.retired = True
