"""Loads bundles and their graphs in one background thread, which no failure ends.

Order: the forward graphs that requests wait for, then that of the default model, then the others, the shadow's at the
end. The graphs for diagnostics take megabytes each. They follow only if the settings say so, otherwise on their first
use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from service.bundles.following import Follower
from service.bundles.index import Entry, index_of
from service.bundles.known import KnownBundles
from service.bundles.opening import FIRST_PAUSE, GraphOpener
from service.bundles.registry import Registry
from service.bundles.repository import Repository
from service.bundles.served_model import ServedGraph, ServedModel
from service.bundles.source import Source
from service.contract.runtime.opening import Runtime
from service.errors import InternalError, LoaderEnded, ServiceError, ShuttingDown
from service.machine.priority import give_way

log = logging.getLogger("contraflow.bundles")

LOOK_AGAIN = 2.0
"""Seconds until the next look after a failure, if the sources are not looked at regularly anyway."""


class Loader:
    """Loads bundles in the background; `started` is set when the first forward graphs are ready and measured."""

    def __init__(
        self,
        sources: Sequence[Source],
        registry: Registry,
        runtime: Runtime,
        *,
        max_batch: int,
        warm_up: bool = True,
        diagnostics_at_start: bool = False,
        poll_seconds: float = 0.0,
        load_models: Sequence[str] = (),
    ) -> None:
        """If the registry is explicit, only `load_models` are loaded, and then what `load` asks for."""
        self._registry = registry
        self._sources = tuple(sources)
        self._diagnostics_at_start = diagnostics_at_start
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._opener = GraphOpener(runtime, max_batch, warm_up=warm_up)
        known = KnownBundles(sources, registry, self._opener, runtime.provider, self._stop)
        self._repository = Repository(known, registry, load_models, self._stop) if registry.is_explicit else None
        self._keeper = self._repository or Follower(known, registry, self._stop, is_watching=poll_seconds > 0)
        self._orders: deque[tuple[Callable[[], None], Future[None]]] = deque()
        """Loads and unloads that are asked for, the earliest first."""
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._ended_by: BaseException | None = None
        self.started = threading.Event()
        self.errors = 0
        """Rounds of work that ended by an exception; each was followed by the next one."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the graph that it is loading."""
        self._stop.set()
        self._wake.set()
        for source in self._sources:
            source.stop()
        self._thread.join()

    @property
    def failure(self) -> str | None:
        """Why the thread has ended although nobody stopped it; None while it works."""
        if self._stop.is_set() or self._thread.ident is None or self._thread.is_alive():
            return None
        return _ended_in_words(self._ended_by)

    def refresh(self) -> None:
        """Look at the sources once; return when the forward graph of every bundle in them is ready or failed."""
        self._keeper.refresh()

    def load(self, name: str) -> Future[None]:
        """Have the thread load a model; see `Repository.load` for the errors of the future. It cannot be called off.

        Raises:
            LoaderEnded: the thread works no longer.
        """
        return self._order(lambda: self._explicit().load(name))

    def unload(self, name: str) -> Future[None]:
        """Have the thread unload a model, as `load`."""
        return self._order(lambda: self._explicit().unload(name))

    def index(self) -> list[Entry]:
        """Return the models that there are. Where they are loaded by name this looks at the sources."""
        return index_of(self._registry) if self._repository is None else self._repository.index()

    def _explicit(self) -> Repository:
        assert self._repository is not None, "models are loaded by name only where the registry is explicit"
        return self._repository

    def _order(self, action: Callable[[], None]) -> Future[None]:
        future: Future[None] = Future()
        self._orders.append((action, future))
        self._wake.set()
        if self._thread.ident is not None and not self._thread.is_alive():
            self._refuse_orders()
        return future

    def _refuse_orders(self) -> None:
        """Refuse what nobody will carry out."""
        ended = None if self._stop.is_set() else self._ended_by
        error = ShuttingDown("The service is shutting down.") if ended is None else LoaderEnded(_ended_in_words(ended))
        while self._orders:
            self._orders.popleft()[1].set_exception(error)

    def _carry_out(self, action: Callable[[], None], future: Future[None]) -> None:
        try:
            action()
            future.set_result(None)
        except ServiceError as error:
            future.set_exception(error)
        except BaseException as error:
            future.set_exception(InternalError("The model could not be loaded; see the log."))
            raise error

    def load_now(self, model: ServedModel, graph: ServedGraph) -> None:
        """Load a graph in the calling thread, if it may be loaded; return when it is ready or failed."""
        self._opener.load_now(model, graph)
        self._wake.set()  # the thread then measures its speed

    def _work(self) -> None:
        try:
            self._work_until_stopped()
        except BaseException as error:
            self._ended_by = error
            log.critical("the loader has ended: no bundle is loaded any more", exc_info=error)
        finally:
            self._refuse_orders()

    def _work_until_stopped(self) -> None:
        next_look: float | None = time.monotonic()
        first = True
        while not self._stop.is_set():
            try:
                if next_look is not None and time.monotonic() >= next_look:
                    self.refresh()
                    if first:
                        first = False
                        give_way()  # from now on predictions come first: optimising and timing a graph takes a core
                    next_look = self._next_look()
                elif self._orders:
                    self._carry_out(*self._orders.popleft())
                elif not self._do_one_more():
                    self.started.set()
                    if not self._opener.widen_next():
                        self._wait_until(next_look)
            except Exception:
                self.errors += 1
                log.exception("a round of loading failed; the next begins in %g s", LOOK_AGAIN)
                self._stop.wait(LOOK_AGAIN)
                next_look = time.monotonic()

    def _wait_until(self, next_look: float | None) -> None:
        """Wait until the next look, the next try of a graph on several threads, or an order."""
        times = [due for due in (next_look, self._opener.next_try) if due is not None]
        self._wake.wait(max(0.0, min(times) - time.monotonic()) if times else None)
        self._wake.clear()

    def _next_look(self) -> float | None:
        """Return when to look at the sources again, on the monotonic clock; None: never."""
        now = time.monotonic()
        times = [max(retry_at, now + FIRST_PAUSE) for retry_at in self._keeper.retry_times()]
        if self._repository is not None:
            pass  # nothing is looked at unasked, but what the settings ask for and could not be loaded
        elif self._poll_seconds:
            times.append(now + self._poll_seconds)
        elif self._registry.unavailable:
            times.append(now + LOOK_AGAIN)
        return min(times, default=None)

    def _do_one_more(self) -> bool:
        """Measure one graph, or load one for diagnostics if the settings say so; return whether there was one."""
        if self._opener.measure_next():
            return True
        if self._diagnostics_at_start:
            now = time.monotonic()
            for model in self._registry.models():
                for graph in model.graphs.values():
                    if graph.may_load(now):
                        self._opener.load_now(model, graph)
                        return True
        return False


def _ended_in_words(error: BaseException | None) -> str:
    return f"The loader of bundles has ended: {type(error).__name__}."
