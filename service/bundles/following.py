"""Keeps the registry of served models in step with the folder of bundles.

A changed bundle replaces the old one only when its new forward graph is ready. A bundle that is broken is refused,
and its old state stays in service. Where the system did not let a bundle be read, or had no memory for it, its old
state stays in service too; such a bundle is reported apart from the refused ones, and tried again.

The registry is replaced as a whole, so that a request sees either the old state or the new one.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from service.bundles.disk import BundleRefused, BundleUnreadable, read_bundle
from service.bundles.folder import Fingerprint, Look, look_at
from service.bundles.opening import GraphOpener, pause_after
from service.bundles.registry import Registry, ServedModel
from service.contract.runtime import passing_reason
from service.machine.memory import give_back
from service.output.printable import printable
from service.output.system_errors import system_reason

log = logging.getLogger("contraflow.bundles")

GONE_AFTER = 0.2
"""Seconds between two looks before a bundle that was not found is retired.

Whoever replaces a bundle moves the old folder away and then the new one into its place. Between the two there is none.
"""

ANOTHER_DEVICE = "another file system without a bundle is there now, as after an unmount"


@dataclass(frozen=True, slots=True)
class _Known:
    """State of one bundle's folder when it was last read, and what came of it."""

    fingerprint: Fingerprint
    model: ServedModel | None
    """Model that is served from the folder, perhaps from an earlier state of its files."""
    refusal: str | None = None
    unavailable: str | None = None
    failures: int = 0
    """Failures in a row, for reasons that may pass."""
    retry_at: float | None = None
    """Time of the next attempt, on the monotonic clock; None if there is to be none."""


class FolderFollower:
    """Looks at the folder and brings what it finds into service. Only one thread at a time does so."""

    def __init__(
        self, folder: Path, registry: Registry, opener: GraphOpener, execution_provider: str, stop: threading.Event
    ) -> None:
        """Once `stop` is set, a round ends after the graph that is being loaded."""
        self._folder = folder
        self._registry = registry
        self._opener = opener
        self._execution_provider = execution_provider
        self._stop = stop
        self._known: dict[Path, _Known] = {}
        self._unreadable: dict[Path, str] = {}
        self._device: int | None = None
        self._missing_default: str | None = None
        self._round = threading.Lock()

    def retry_times(self) -> list[float]:
        """Return when bundles are to be tried again, on the monotonic clock."""
        return [known.retry_at for known in self._known.values() if known.retry_at is not None]

    def refresh(self) -> None:
        """Look at the folder once; return when the forward graph of every bundle in it is ready or failed."""
        with self._round:
            try:
                look = self._look()
                removed = self._missing_from(look)
                if removed and not self._stop.wait(GONE_AFTER):
                    look = self._look()
                    removed &= self._missing_from(look)
            except OSError as error:
                self._unreadable = {self._folder: system_reason(error)}
                unavailable = self._unavailable(self._known, self._unreadable)
                self._log_unavailable(unavailable)
                self._registry.report_unavailable(unavailable)
                return
            self._device = look.device
            self._follow(look, removed)

    def _look(self) -> Look:
        """Look at the folder; raise OSError if it cannot be listed, or if another file system has taken its place."""
        look = look_at(self._folder)
        if not look.bundles and self._known and look.device != self._device:
            raise OSError(None, ANOTHER_DEVICE)
        return look

    def _missing_from(self, look: Look) -> set[Path]:
        """Return the known bundles that are certainly no longer there."""
        return {path for path in self._known.keys() - look.bundles.keys() if look.reason_unknown(path) is None}

    def _follow(self, look: Look, removed: set[Path]) -> None:
        before, now = self._known, time.monotonic()
        after: dict[Path, _Known] = {}
        for directory, fingerprint in look.bundles.items():
            known = before.get(directory)
            is_due = known is not None and known.retry_at is not None and now >= known.retry_at
            if known is not None and known.fingerprint == fingerprint and not is_due:
                after[directory] = known
            else:
                after[directory] = self._read(directory, fingerprint, known)
        for directory, known in before.items():
            if directory not in after and directory not in removed:
                after[directory] = known
        if after == before and look.unreadable == self._unreadable and self._registry.complete:
            return
        if not self._registry.complete:
            # A service that has just started says at once which models it is loading.
            self._publish(after, look.unreadable)
            names = ", ".join(self._registry.names())
            log.log(logging.INFO if names else logging.WARNING, "models: %s", names or f"none in {self._folder}")
        self._load_forward_graphs(before, after)
        self._log_unavailable(self._unavailable(after, look.unreadable))
        self._publish(after, look.unreadable)
        # Only now: if this round fails, the next one must go through the same changes again.
        self._known, self._unreadable = after, look.unreadable
        self._log_missing_default()
        self._retire(before)

    def _read(self, directory: Path, fingerprint: Fingerprint, known: _Known | None) -> _Known:
        """Read a bundle that is new or changed, or could not be read before."""
        served = known.model if known else None
        try:
            model = ServedModel(read_bundle(directory), self._execution_provider)
        except BundleUnreadable as error:
            return self._put_off(fingerprint, known, str(error))
        except BundleRefused as error:
            log.error("bundle %s is refused: %s", self._shown(directory), error)
            return _Known(fingerprint, served, refusal=str(error))
        except Exception as error:  # whatever is wrong with it must not keep the others from being served
            if known is None or known.unavailable is None:
                log.exception("bundle %s cannot be read", self._shown(directory))
            reason = passing_reason(error) or type(error).__name__
            return self._put_off(fingerprint, known, f"it cannot be read: {reason}")
        if served and served.digest == model.digest:
            return _Known(fingerprint, served)  # the files were touched, and say the same
        return _Known(fingerprint, model)

    @staticmethod
    def _put_off(fingerprint: Fingerprint, known: _Known | None, reason: str) -> _Known:
        """Keep serving what was served before, and try again later."""
        failures = (known.failures if known else 0) + 1
        served = known.model if known else None
        return _Known(fingerprint, served, None, reason, failures, time.monotonic() + pause_after(failures))

    def _load_forward_graphs(self, before: dict[Path, _Known], after: dict[Path, _Known]) -> None:
        """Load what is new in `after`; where that fails, put back what was served before."""
        pending = {path: known.model for path, known in after.items() if known.model and not known.model.ready}
        while pending and not self._stop.is_set():
            # Requests may ask for a model meanwhile, so the order is decided anew each time.
            directory = min(pending, key=lambda path: self._loading_order(pending[path]))
            model = pending.pop(directory)
            graph = model.graphs["forward"]
            self._opener.load_now(model, graph)
            if graph.failure is None:
                continue
            fingerprint, old = after[directory].fingerprint, before.get(directory)
            if graph.retry_at is None:
                after[directory] = _Known(fingerprint, old.model if old else None, refusal=graph.failure)
            else:
                after[directory] = self._put_off(fingerprint, old, graph.failure)

    def _loading_order(self, model: ServedModel) -> tuple[bool, bool]:
        """Return the key of sorting: models that requests wait for, then the default model, then the others."""
        return not model.graphs["forward"].asked_for, not self._registry.is_default(model)

    def _publish(self, all_known: dict[Path, _Known], unreadable: dict[Path, str]) -> None:
        models: dict[tuple[str, str], ServedModel] = {}
        refused: dict[str, str] = {}
        for directory, known in all_known.items():
            if known.refusal is not None:
                refused[self._shown(directory)] = known.refusal
            if known.model is None:
                continue
            key = (known.model.name, known.model.version)
            if key in models:
                refused[self._shown(directory)] = f"{key[0]} version {key[1]} is there twice"
            else:
                models[key] = known.model
        self._registry.replace(models.values(), refused, self._unavailable(all_known, unreadable))

    def _unavailable(self, all_known: dict[Path, _Known], unreadable: dict[Path, str]) -> dict[str, str]:
        """Return the folders that could not be read or loaded for a reason that may pass, each with the reason."""
        found = {self._shown(path): printable(reason) for path, reason in unreadable.items()}
        for directory, known in all_known.items():
            if known.unavailable is not None:
                found.setdefault(self._shown(directory), known.unavailable)
        return found

    def _log_unavailable(self, found: dict[str, str]) -> None:
        """Log what has become unavailable or available since the last time."""
        logged = self._registry.unavailable
        for name, reason in found.items():
            if logged.get(name) != reason:
                log.warning("%s is unavailable, and is tried again: %s", self._in_words(name), reason)
        for name in logged:
            if name not in found:
                log.info("%s is available again", self._in_words(name))

    def _log_missing_default(self) -> None:
        """Log why requests that name no model are refused, if that has changed."""
        missing = self._registry.missing_default()
        if missing is not None and missing != self._missing_default:
            log.error("%s", missing)
        self._missing_default = missing

    def _retire(self, before: dict[Path, _Known]) -> None:
        """Let go of the models that are no longer served; requests in progress keep their sessions until they end."""
        kept = {id(known.model) for known in self._known.values()}
        for known in before.values():
            if known.model is not None and id(known.model) not in kept:
                log.info("%s version %s (%s) is retired", known.model.name, known.model.version, known.model.digest)
                known.model.retire()
        gc.collect()
        give_back()

    def _shown(self, path: Path) -> str:
        """Return a path within the folder as people see it; "." is the folder itself."""
        return printable(path.relative_to(self._folder).as_posix())

    def _in_words(self, shown: str) -> str:
        return f"the folder {self._folder}" if shown == "." else f"bundle {shown}"
