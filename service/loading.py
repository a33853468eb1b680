"""Brings the folder of bundles into service, and keeps it so while it changes.

Order: the default model's forward graph, then the other forward graphs. The graphs for diagnostics
follow only if the settings say so, since each costs megabytes; otherwise on their first use. A
changed bundle replaces the old one only when its forward graph is warm; a broken one is refused and
the old one stays. Loading runs in one background thread; the registry is replaced as a whole, so
requests see the old state or the new one.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from service.bundles import BundleRefused, find_bundles, fingerprint, read_bundle
from service.memory import give_back
from service.priority import give_way
from service.registry import Registry, ServedGraph, ServedModel
from service.runtime import CPU, RunHandle, Runtime, Session, zeros_for

log = logging.getLogger("contraflow.bundles")

LONGEST_RUN = {False: 0.25, True: 0.1}
"""Seconds that one run may take, for predictions (False) and diagnostics (True): what others wait for."""

COST_OF_A_BATCH = 3e-4
"""Seconds that a batch costs besides its run: taking it, waking the event loop."""

NEARLY_AS_GOOD = 1.05
"""Of sizes within this of the best per image the smallest holds others up least, and takes the least memory."""
WORTH_GOING_ON = 0.8
"""Larger sizes are not tried once one has cost 1 / 0.8 of the best per image."""

LONGEST_TIMING = 0.25

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    fingerprint: Fingerprint
    model: ServedModel | None
    refusal: str | None


class Loader:
    """Loads bundles in the background; `started` says when the first round of forward graphs is through."""

    def __init__(
        self,
        folder: Path,
        registry: Registry,
        runtime: Runtime,
        *,
        max_batch: int,
        warm_up: bool = True,
        diagnostics_at_start: bool = False,
        poll_seconds: float = 0.0,
    ) -> None:
        self._folder = folder
        self._registry = registry
        self._runtime = runtime
        self._max_batch = max_batch
        self._warm_up = warm_up
        self._diagnostics_at_start = diagnostics_at_start
        self._poll_seconds = poll_seconds
        self._seen: dict[Path, _Seen] = {}
        self._stop = threading.Event()
        self._look = threading.Event()
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self.started = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the graph it is loading."""
        self._stop.set()
        self._look.set()
        self._thread.join()

    def _work(self) -> None:
        self.refresh()
        self.started.set()
        give_way()  # from here on to predictions: optimising and warming a graph takes a core for seconds
        self._load_rest()
        while not self._stop.is_set() and self._poll_seconds:
            self._look.wait(self._poll_seconds)
            if self._stop.is_set():
                return
            if self.refresh():
                self._load_rest()

    def refresh(self) -> bool:
        """Looks at the folder once; whether anything changed. Returns when every forward graph is ready or failed."""
        before = self._seen
        after: dict[Path, _Seen] = {}
        for directory in find_bundles(self._folder):
            mark = fingerprint(directory)
            known = before.get(directory)
            after[directory] = known if known and known.fingerprint == mark else self._look_at(directory, mark, known)
        if after == before and self.started.is_set():
            return False
        self._seen = after
        if not self.started.is_set():
            self._publish()  # a starting service says what it is loading
            names = ", ".join(self._registry.names())
            log.log(logging.INFO if names else logging.WARNING, "models: %s", names or f"none in {self._folder}")
        self._load_forward_graphs(before)
        self._publish()
        self._retire(before)
        return True

    def _look_at(self, directory: Path, mark: Fingerprint, known: _Seen | None) -> _Seen:
        try:
            model = ServedModel(read_bundle(directory), self._runtime.provider)
        except BundleRefused as error:
            log.error("bundle %s is refused: %s", directory.name, error)
            return _Seen(mark, known.model if known else None, str(error))
        if known and known.model and known.model.digest == model.digest:
            return _Seen(mark, known.model, None)  # touched, not changed
        return _Seen(mark, model, None)

    def _load_forward_graphs(self, before: dict[Path, _Seen]) -> None:
        default = self._registry.default_name or self._default_of(self._seen)
        ordered = sorted(self._seen.items(), key=lambda item: item[1].model is None or item[1].model.name != default)
        for directory, seen in ordered:
            if self._stop.is_set():
                return
            if seen.model is None or seen.model.graphs["forward"].state != "unloaded":
                continue
            self.load_now(seen.model, seen.model.graphs["forward"])
            failure = seen.model.graphs["forward"].failure
            old = before.get(directory)
            if failure is not None:
                self._seen[directory] = _Seen(seen.fingerprint, old.model if old else None, failure)

    def _default_of(self, seen: dict[Path, _Seen]) -> str | None:
        candidate = Registry()
        candidate.replace([entry.model for entry in seen.values() if entry.model], {})
        return candidate.default_name

    def _publish(self) -> None:
        models: dict[tuple[str, str], ServedModel] = {}
        refused: dict[str, str] = {}
        for directory, seen in self._seen.items():
            if seen.refusal is not None:
                refused[str(directory.relative_to(self._folder))] = seen.refusal
            if seen.model is None:
                continue
            key = (seen.model.name, seen.model.version)
            if key in models:
                refused[str(directory.relative_to(self._folder))] = f"{key[0]} version {key[1]} is there twice"
            else:
                models[key] = seen.model
        self._registry.replace(models.values(), refused)

    def _retire(self, before: dict[Path, _Seen]) -> None:
        """Models that are served no more keep their sessions only as long as requests hold them."""
        kept = {id(seen.model) for seen in self._seen.values()}
        for seen in before.values():
            if seen.model is not None and id(seen.model) not in kept:
                log.info("%s version %s (%s) is retired", seen.model.name, seen.model.version, seen.model.digest)
                seen.model.retire()
        gc.collect()
        give_back()

    def _load_rest(self) -> None:
        """The graphs for diagnostics, model by model."""
        if not self._diagnostics_at_start:
            return
        for model in self._registry.models():
            for graph in model.graphs.values():
                if self._stop.is_set():
                    return
                self.load_now(model, graph)

    def load_now(self, model: ServedModel, graph: ServedGraph) -> None:
        """Loads a graph that is not loaded yet, in this thread; returns when it is ready or failed."""
        with graph.lock:
            if graph.state == "unloaded":
                graph.state = "loading"
                self._load(model, graph)

    def _load(self, model: ServedModel, graph: ServedGraph) -> None:
        began = time.monotonic()
        if graph.diagnostic and self._is_changed(model, graph):
            return
        try:
            session = self._runtime.open(model.stored.directory / model.bundle.graphs[graph.name].file)
            if self._warm_up:
                limit = 1 if graph.exclusive else self._max_batch
                best_batch, seconds = warm_up(session, limit, graph.diagnostic)
            else:
                best_batch, seconds = min(8, self._max_batch), 0.01
        except Exception as error:
            if not self._is_changed(model, graph):
                log.exception("graph %s of %s cannot be loaded", graph.name, graph.model)
                graph.fail(f"{graph.name} cannot be loaded: {type(error).__name__}")
            return
        if self._is_changed(model, graph):
            return
        graph.open(session, best_batch, seconds)
        give_back()
        log.info(
            "%s %s is ready on %s after %.2f s: %.2f ms per image at batch %d",
            *(graph.model, graph.name, session.provider, time.monotonic() - began, 1e3 * seconds, best_batch),
        )

    @staticmethod
    def _is_changed(model: ServedModel, graph: ServedGraph) -> bool:
        """Whether the files are another bundle's by now; the graph then is not ready.

        A bundle is served on while its folder holds the next one, or a broken one. Asked before loading
        and after it, since files can change while they are read.
        """
        try:
            model.stored.check_graph(graph.name)
        except BundleRefused as reason:
            log.warning("graph %s of %s is not loaded: %s", graph.name, graph.model, reason)
            if graph.diagnostic:
                graph.put_off()
            else:
                graph.fail(f"{graph.name} cannot be loaded: {reason}")
            return True
        return False


def warm_up(session: Session, max_batch: int, diagnostic: bool) -> tuple[int, float]:
    """The batch size (1, 2, 4 …) with the least time per image, and that time in seconds.

    Of sizes that are nearly as good the smallest is taken; a size whose run takes longer than
    others should have to wait for is none. What the runs needed is given back at the end.
    """
    per_image: dict[int, float] = {}
    batch = 1
    while batch <= max_batch:
        seconds = _least_time(session, batch)
        if batch > 1 and seconds > LONGEST_RUN[diagnostic]:
            break
        per_image[batch] = (seconds + COST_OF_A_BATCH) / batch
        if min(per_image.values()) < per_image[batch] * WORTH_GOING_ON:
            break
        batch *= 2
    session.run(zeros_for(session, 1), RunHandle(gives_memory_back=True))
    least = min(per_image.values())
    best = next(size for size, seconds in per_image.items() if seconds <= least * NEARLY_AS_GOOD)
    return best, per_image[best]


def _least_time(session: Session, batch: int) -> float:
    """The shortest of up to three runs, in seconds; the first of a size is slow.

    On a CPU a run is one thread, whose own clock is right however busy the machine is.
    """
    clock = time.thread_time if session.provider == CPU else time.monotonic
    feeds = zeros_for(session, batch)
    times: list[float] = []
    while len(times) < 3 and sum(times) < LONGEST_TIMING:
        began = clock()
        session.run(feeds)
        times.append(clock() - began)
    return min(times)
