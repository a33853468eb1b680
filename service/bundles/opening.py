"""Opens a session for each graph of the bundles. A graph is ready after two short runs; its speed is measured later.

Graphs of equal content share one session, whichever bundles they belong to: copies under other names, or versions
that differ in their labels only. What failed for a reason that may pass is tried again, each time after a longer
pause.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from service.bundles.disk import BundleRefused, BundleUnreadable
from service.bundles.served_model import ASSUMED_SECONDS_PER_IMAGE, ServedGraph, ServedModel, WideSpeed
from service.bundles.warm_up import (
    LEAST_WIDENED,
    USUAL_BATCH,
    Speed,
    best_speed,
    first_speed,
    seconds_on_one_thread,
    widened_speed,
)
from service.contract.bundle_schema import GraphName
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import passing_reason
from service.contract.runtime.session import Session
from service.machine.free_cores import cores_are_free
from service.machine.memory import give_back

log = logging.getLogger("contraflow.bundles")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds until the next attempt after a failure that may pass; doubled after each further failure."""

FIRST_WAIT_FOR_CORES, LONGEST_WAIT_FOR_CORES = 1.0, 30.0
"""Seconds until a graph is tried on several threads again, if cores were not free; doubled each time."""


def pause_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))


class _Try(NamedTuple):
    """One time that a graph is tried on several threads. A model that is served no longer need not wait for it."""

    model: weakref.ref[ServedModel]
    name: GraphName
    due: float
    wait: float
    """Seconds until the next one."""

    def later(self) -> _Try:
        return self._replace(due=time.monotonic() + self.wait, wait=min(2 * self.wait, LONGEST_WAIT_FOR_CORES))


class GraphOpener:
    """Opens graphs, from any thread, and remembers which ones are still to be measured."""

    def __init__(self, runtime: Runtime, max_batch: int, *, warm_up: bool = True) -> None:
        self._runtime = runtime
        self._max_batch = max_batch
        self._warm_up = warm_up
        self._sessions: WeakValueDictionary[tuple[tuple[str, str], ...], Session] = WeakValueDictionary()
        self._speeds: WeakKeyDictionary[Session, Speed] = WeakKeyDictionary()
        self._unmeasured: deque[ServedGraph] = deque()
        self._wide: WeakKeyDictionary[Session, WideSpeed | None] = WeakKeyDictionary()
        """Sessions that were tried on several threads → how fast they are; None: no faster."""
        self._unwidened: list[_Try] = []
        self._logged: dict[tuple[str, str], str] = {}
        """Model and graph → last reason that was logged, because what is tried again and again is logged once."""

    def load_now(self, model: ServedModel, graph: ServedGraph) -> None:
        """Open a graph in the calling thread, if it may be loaded; return when it is ready, failed or put off."""
        with graph.lock:
            if graph.may_load(time.monotonic()):
                graph.state = "loading"
                try:
                    self._load(model, graph)
                except Exception as error:  # the graph must not stay in the state "loading"
                    self._fail(graph, error)

    def measure_next(self) -> bool:
        """Measure the best batch size of one graph that is ready; return whether there was one."""
        while self._unmeasured:
            graph = self._unmeasured.popleft()
            if graph.session is None or graph.retired:
                continue
            limit = 1 if graph.exclusive else self._max_batch
            known = self._speeds.get(graph.session)
            try:
                speed = known or best_speed(graph.session, limit, graph.diagnostic)
            except Exception:  # it has run before, so memory is short now; its first speed will do
                log.warning("%s %s could not be measured", graph.model, graph.name, exc_info=True)
                return True
            self._speeds[graph.session] = speed
            graph.best_batch, graph.seconds_per_image = speed
            log.info(
                "%s %s: %.2f ms per image at batch %d%s",
                graph.model, graph.name, 1e3 * speed.seconds_per_image, speed.best_batch, _recordings(graph.session),
            )  # fmt: skip
            return True
        return False

    @property
    def next_try(self) -> float | None:
        """Time from which `widen_next` has something to do, on the monotonic clock; None: never."""
        return min([one.due for one in self._unwidened], default=None)

    def widen_next(self) -> bool:
        """Try one graph on several threads, if one is due; return whether there was one."""
        due = [one for one in self._unwidened if one.due <= time.monotonic()]
        if not due:
            return False
        self._unwidened.remove(due[0])
        model = due[0].model()
        if model is None:
            return True
        graph = model.graph(due[0].name)
        if graph.session is None or graph.retired:
            return True
        if graph.session not in self._wide and not self._try_wide(model, graph, graph.session):
            others = [one for one in self._unwidened if one not in due]
            self._unwidened = [*others, *(one.later() for one in due)]  # the cores are free for none of them
            return True
        graph.wide = self._wide[graph.session]
        if graph.wide is not None:
            alone = f"{1e3 * graph.wide.seconds:.2f} ms for one image that is alone, on {graph.wide.threads} threads"
            log.info("%s %s: %s", graph.model, graph.name, alone)
        return True

    def _try_wide(self, model: ServedModel, graph: ServedGraph, session: Session) -> bool:
        """Try a session on several threads, and widen it if that pays; return False if cores were not free for it."""
        wide: WideSpeed | None = None
        try:
            seconds = seconds_on_one_thread(session)
            if seconds < LEAST_WIDENED:
                self._wide[session] = None
                return True
            if not cores_are_free(session.most_threads):
                return False
            file = model.stored.directory / model.bundle.graphs[graph.name].file
            wide = widened_speed(session, file, seconds, partial(model.stored.check_graph, graph.name))
        except Exception as error:  # no memory, no room on the disk, another bundle; runs of one thread go on
            log.warning("%s %s stays on one thread: %s", graph.model, graph.name, str(error).strip())
        give_back()  # what was opened and not kept, or replaced
        if wide is None and not cores_are_free(session.most_threads):
            return False
        self._wide[session] = wide
        return True

    def _load(self, model: ServedModel, graph: ServedGraph) -> None:
        began = time.monotonic()
        if graph.diagnostic and self._fail_if_changed(model, graph):
            return
        content = model.stored.content_of(graph.name)
        try:
            session = self._sessions.get(content)
            if session is None:
                session = self._runtime.open(model.stored.directory / model.bundle.graphs[graph.name].file)
            speed = self._speeds.get(session) or self._first_speed(session, graph)
        except Exception as error:
            if not self._fail_if_changed(model, graph):
                self._fail(graph, error)
            return
        if self._fail_if_changed(model, graph):
            return
        self._sessions[content] = session
        self._logged.pop((graph.model, graph.name), None)
        graph.open(session, *speed)
        if self._warm_up and session not in self._speeds:
            self._unmeasured.append(graph)
        if self._warm_up and session.most_threads > 1:
            self._unwidened.append(_Try(weakref.ref(model), graph.name, 0.0, FIRST_WAIT_FOR_CORES))
        log.info(
            "%s %s is ready on %s after %.2f s", graph.model, graph.name, session.provider, time.monotonic() - began
        )

    def _first_speed(self, session: Session, graph: ServedGraph) -> Speed:
        if not self._warm_up:
            return Speed(min(USUAL_BATCH, self._max_batch), ASSUMED_SECONDS_PER_IMAGE)
        return first_speed(session, 1 if graph.exclusive else self._max_batch, graph.diagnostic)

    def _fail(self, graph: ServedGraph, error: Exception) -> None:
        passing = passing_reason(error, on_a_gpu=self._runtime.chosen.gpu is not None)
        reason = f"{graph.name} cannot be loaded: {passing or type(error).__name__}"
        self._log_once(graph, reason, error)
        graph.fail(reason, pause_after(graph.failures + 1) if passing else None)

    def _log_once(self, graph: ServedGraph, reason: str, error: Exception | None = None) -> None:
        key = (graph.model, graph.name)
        if self._logged.get(key) != reason:
            self._logged[key] = reason
            log.log(logging.ERROR if error else logging.WARNING, "%s: %s", graph.model, reason, exc_info=error)

    def _fail_if_changed(self, model: ServedModel, graph: ServedGraph) -> bool:
        """Fail or put off a graph whose files are no longer those of its bundle; return whether that is so.

        A bundle stays in service while its folder already holds the next one, or a broken one. Files can change
        while they are read, so this is checked before loading and after it.
        """
        try:
            model.stored.check_graph(graph.name)
        except BundleRefused as error:
            reason = f"{graph.name} cannot be loaded: {error}"
            self._log_once(graph, reason)
            if isinstance(error, BundleUnreadable):
                graph.fail(reason, pause_after(graph.failures + 1))
            elif graph.diagnostic:
                graph.put_off()
            else:
                graph.fail(reason)
            return True
        return False


def _recordings(session: Session) -> str:
    """Say which batch sizes are run as CUDA graphs, if any are."""
    return f" (CUDA graphs at batch {', '.join(map(str, session.recorded))})" if session.recorded else ""
