"""Brings the folder of bundles into service, and keeps it so while it changes.

Order: the graphs that requests wait for, then the default model's forward graph, then the other
forward graphs. The graphs for diagnostics follow only if the settings say so, since each costs
megabytes; otherwise on their first use. A changed bundle replaces the old one only when its forward
graph is ready; a broken one is refused and the old one stays. What the system would not let be read,
or had no memory for, is served on as it was, told apart from what is refused, and tried again.

Loading runs in one background thread, which no failure ends; the registry is replaced as a whole, so
requests see the old state or the new one.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from service.bundles.disk import BundleRefused, BundleUnreadable, read_bundle
from service.bundles.folder import Fingerprint, Look, look_at, why
from service.bundles.opening import FIRST_PAUSE, GraphOpener, pause_after
from service.bundles.registry import Registry, ServedGraph, ServedModel
from service.contract.runtime import Runtime, passing_reason
from service.machine.memory import give_back
from service.machine.priority import give_way
from service.output.printable import printable

log = logging.getLogger("contraflow.bundles")

LOOK_AGAIN = 2.0
"""Seconds until a folder that could not be read is looked at again, where it is not looked at for changes."""

GONE_AFTER = 0.2
"""Seconds after which a bundle that was not found is looked for once more, before it is retired.

Who replaces a bundle moves the old one away and the new one into place: between the two there is none.
"""

ANOTHER_DEVICE = "another file system without a bundle is there now, as after an unmount"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The outcome of the last reading of one bundle's folder."""

    fingerprint: Fingerprint
    model: ServedModel | None
    """The model that is served from it, perhaps still from an earlier state of the folder."""
    refusal: str | None = None
    unavailable: str | None = None
    failures: int = 0
    """In a row, for reasons that may pass."""
    retry_at: float | None = None
    """When it is to be tried again, on the monotonic clock."""


class Loader:
    """Loads bundles in the background; `started` says when the first forward graphs are ready and measured."""

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
        self._provider = runtime.provider
        self._opener = GraphOpener(runtime, max_batch, warm_up=warm_up)
        self._diagnostics_at_start = diagnostics_at_start
        self._poll_seconds = poll_seconds
        self._seen: dict[Path, _Seen] = {}
        self._unreadable: dict[Path, str] = {}
        self._device: int | None = None
        self._missing_default: str | None = None
        self._round = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._ended_by: BaseException | None = None
        self.started = threading.Event()
        self.errors = 0
        """Rounds that ended by an exception; the next one came all the same."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the graph it is loading."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    @property
    def failure(self) -> str | None:
        """Why bundles are not looked after any more, though nobody has stopped it; None while they are."""
        if self._stop.is_set() or self._thread.ident is None or self._thread.is_alive():
            return None
        return f"The loader of bundles has ended: {type(self._ended_by).__name__}."

    def load_now(self, model: ServedModel, graph: ServedGraph) -> None:
        """Loads a graph that may be loaded, in this thread; returns when it is ready or failed."""
        self._opener.load_now(model, graph)
        self._wake.set()  # its speed is to be measured

    def _work(self) -> None:
        try:
            self._work_until_stopped()
        except BaseException as error:
            self._ended_by = error
            log.critical("the loader has ended: no bundle is loaded any more", exc_info=error)

    def _work_until_stopped(self) -> None:
        next_look: float | None = time.monotonic()
        first = True
        while not self._stop.is_set():
            try:
                if next_look is not None and time.monotonic() >= next_look:
                    self.refresh()
                    if first:
                        first = False
                        give_way()  # from here on to predictions: optimising and timing a graph takes a core
                    next_look = self._next_look()
                elif not self._do_one_more():
                    self.started.set()
                    self._wake.wait(None if next_look is None else max(0.0, next_look - time.monotonic()))
                    self._wake.clear()
            except Exception:
                self.errors += 1
                log.exception("a round of loading failed; the next comes in %g s", LOOK_AGAIN)
                self._stop.wait(LOOK_AGAIN)
                next_look = time.monotonic()

    def _next_look(self) -> float | None:
        """When the folder is to be looked at again, on the monotonic clock; None: never."""
        now = time.monotonic()
        times = [max(seen.retry_at, now + FIRST_PAUSE) for seen in self._seen.values() if seen.retry_at is not None]
        if self._poll_seconds:
            times.append(now + self._poll_seconds)
        elif self._registry.unavailable:
            times.append(now + LOOK_AGAIN)
        return min(times, default=None)

    def _do_one_more(self) -> bool:
        """Measures one graph, or loads one for diagnostics if the settings say so; returns whether there was one."""
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

    def refresh(self) -> None:
        """Looks at the folder once. Returns when every forward graph is ready or failed."""
        with self._round:
            try:
                look = self._look()
                removed = self._missing_from(look)
                if removed and not self._stop.wait(GONE_AFTER):
                    look = self._look()
                    removed &= self._missing_from(look)
            except OSError as error:
                self._unreadable = {self._folder: why(error)}
                unavailable = self._unavailable(self._seen, self._unreadable)
                self._tell_unavailable(unavailable)
                self._registry.hinder(unavailable)
                return
            self._device = look.device
            self._follow(look, removed)

    def _look(self) -> Look:
        """OSError where the folder cannot be listed, or where another file system has taken its place."""
        look = look_at(self._folder)
        if not look.bundles and self._seen and look.device != self._device:
            raise OSError(None, ANOTHER_DEVICE)
        return look

    def _missing_from(self, look: Look) -> set[Path]:
        """The known bundles that are not there any more, as far as that could be looked at."""
        return {path for path in self._seen.keys() - look.bundles.keys() if look.hindrance(path) is None}

    def _follow(self, look: Look, removed: set[Path]) -> None:
        before, now = self._seen, time.monotonic()
        after: dict[Path, _Seen] = {}
        for directory, mark in look.bundles.items():
            known = before.get(directory)
            is_due = known is not None and known.retry_at is not None and now >= known.retry_at
            if known is not None and known.fingerprint == mark and not is_due:
                after[directory] = known
            else:
                after[directory] = self._examine(directory, mark, known)
        for directory, known in before.items():
            if directory not in after and directory not in removed:
                after[directory] = known
        if after == before and look.unreadable == self._unreadable and self._registry.complete:
            return
        if not self._registry.complete:
            self._publish(after, look.unreadable)  # a starting service says what it is loading
            names = ", ".join(self._registry.names())
            log.log(logging.INFO if names else logging.WARNING, "models: %s", names or f"none in {self._folder}")
        self._load_forward_graphs(before, after)
        self._tell_unavailable(self._unavailable(after, look.unreadable))
        self._publish(after, look.unreadable)
        self._seen, self._unreadable = after, look.unreadable  # not before: a round that fails is gone through again
        self._tell_default()
        self._retire(before)

    def _examine(self, directory: Path, mark: Fingerprint, known: _Seen | None) -> _Seen:
        """Reads a bundle that is new or changed, or could not be read before."""
        served = known.model if known else None
        try:
            model = ServedModel(read_bundle(directory), self._provider)
        except BundleUnreadable as error:
            return self._put_off(mark, known, str(error))
        except BundleRefused as error:
            log.error("bundle %s is refused: %s", self._shown(directory), error)
            return _Seen(mark, served, refusal=str(error))
        except Exception as error:  # whatever it is, it must not keep the others from being served
            if known is None or known.unavailable is None:
                log.exception("bundle %s cannot be read", self._shown(directory))
            return self._put_off(mark, known, f"it cannot be read: {passing_reason(error) or type(error).__name__}")
        if served and served.digest == model.digest:
            return _Seen(mark, served)  # touched, not changed
        return _Seen(mark, model)

    @staticmethod
    def _put_off(mark: Fingerprint, known: _Seen | None, reason: str) -> _Seen:
        """To be tried again; what was served before is served on."""
        failures = (known.failures if known else 0) + 1
        served = known.model if known else None
        return _Seen(mark, served, None, reason, failures, time.monotonic() + pause_after(failures))

    def _load_forward_graphs(self, before: dict[Path, _Seen], after: dict[Path, _Seen]) -> None:
        """Loads what is new in `after`, and puts back what was before in place of what cannot be loaded."""
        pending = {path: seen.model for path, seen in after.items() if seen.model and not seen.model.ready}
        while pending and not self._stop.is_set():
            directory = min(pending, key=lambda path: self._turn(pending[path]))
            model = pending.pop(directory)
            graph = model.graphs["forward"]
            self._opener.load_now(model, graph)
            if graph.failure is None:
                continue
            mark, old = after[directory].fingerprint, before.get(directory)
            if graph.retry_at is None:
                after[directory] = _Seen(mark, old.model if old else None, refusal=graph.failure)
            else:
                after[directory] = self._put_off(mark, old, graph.failure)

    def _turn(self, model: ServedModel) -> tuple[bool, bool]:
        """The key that sorts models into the order of loading: those asked for, then the default, then the others."""
        return not model.graphs["forward"].asked_for, not self._registry.is_default(model)

    def _publish(self, all_seen: dict[Path, _Seen], unreadable: dict[Path, str]) -> None:
        models: dict[tuple[str, str], ServedModel] = {}
        refused: dict[str, str] = {}
        for directory, seen in all_seen.items():
            if seen.refusal is not None:
                refused[self._shown(directory)] = seen.refusal
            if seen.model is None:
                continue
            key = (seen.model.name, seen.model.version)
            if key in models:
                refused[self._shown(directory)] = f"{key[0]} version {key[1]} is there twice"
            else:
                models[key] = seen.model
        self._registry.replace(models.values(), refused, self._unavailable(all_seen, unreadable))

    def _unavailable(self, all_seen: dict[Path, _Seen], unreadable: dict[Path, str]) -> dict[str, str]:
        """All that could not be read or loaded, for a reason that may pass → why."""
        found = {self._shown(path): printable(reason) for path, reason in unreadable.items()}
        for directory, seen in all_seen.items():
            if seen.unavailable is not None:
                found.setdefault(self._shown(directory), seen.unavailable)
        return found

    def _tell_unavailable(self, found: dict[str, str]) -> None:
        """Logs what has changed in that since the last time."""
        told = self._registry.unavailable
        for name, reason in found.items():
            if told.get(name) != reason:
                what = f"the folder {self._folder}" if name == "." else f"bundle {name}"
                log.warning("%s cannot be had, and is tried again: %s", what, reason)
        for name in told:
            if name not in found:
                log.info("%s can be read again", f"the folder {self._folder}" if name == "." else f"bundle {name}")

    def _tell_default(self) -> None:
        """Logs why requests that name no model are refused, when that has changed."""
        missing = self._registry.missing_default()
        if missing is not None and missing != self._missing_default:
            log.error("%s", missing)
        self._missing_default = missing

    def _retire(self, before: dict[Path, _Seen]) -> None:
        """Models that are served no more keep their sessions only as long as requests hold them."""
        kept = {id(seen.model) for seen in self._seen.values()}
        for seen in before.values():
            if seen.model is not None and id(seen.model) not in kept:
                log.info("%s version %s (%s) is retired", seen.model.name, seen.model.version, seen.model.digest)
                seen.model.retire()
        gc.collect()
        give_back()

    def _shown(self, path: Path) -> str:
        """A path within the folder, as people see it; "." is the folder itself."""
        return printable(path.relative_to(self._folder).as_posix())
