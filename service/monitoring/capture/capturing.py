"""Chooses the requests that are captured, and has a thread of its own write them.

The event loop only decides, and puts the request into a queue. The queue is bounded in bytes: what does not fit is
lost and counted, and so is what the disk does not take. No request waits for either.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from service.monitoring.capture.reading import REPLAYING
from service.monitoring.capture.records import FORMATS
from service.monitoring.capture.ring import Ring
from service.monitoring.finished_request import FinishedRequest
from service.output.system_errors import error_in_words

log = logging.getLogger("contraflow.capture")

CAPTURED_ROUTES: Final = frozenset(
    {"/predict", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"}
)
CAPTURED_STATUSES: Final = frozenset({200, 400, 404, 413, 415, 422, 500})
"""Those that body and query alone decide; keys, load, deadlines and clients that go say nothing of the model."""
OF_A_REPLAY: Final = REPLAYING.encode()

QUEUE_BYTES: Final = 32 * 2**20
"""Bytes of requests that may wait to be written."""
OVERHEAD_BYTES: Final = 4096
"""Bytes that a waiting request takes beside its body and its answer."""
PAUSE: Final = 0.05
"""Seconds in which requests gather before they are written together: a thread that wakes disturbs the event loop."""
CHUNK_BYTES: Final = 2**16
"""Bytes that are written at a time, unless one line has more; at each write the event loop goes first."""
PATIENCE: Final = 5.0
"""Seconds that the end of the service waits for a disk."""

Waiting = tuple[FinishedRequest, float]
"""A request, and when it came, in seconds since 1970."""


class Capture(Collector):
    """Keeps a share of the predictions: an observer of requests, and the collector of its own counts."""

    def __init__(
        self, folder: Path, *, share: float, pictures: bool, form: Literal["json", "cloudevents"], most_bytes: int
    ) -> None:
        """Prepare the folder; `share` is that of the requests, `pictures` asks for their bodies.

        Raises:
            OSError: nothing can be written there.
        """
        self._share, self._pictures, self._line = share, pictures, FORMATS[form]
        self._ring = Ring(Path(os.path.abspath(folder)), most_bytes)
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        # Each number is written by one thread alone: the first two by the event loop's.
        self._taken_bytes = 0
        self._left_out = 0
        self._done_bytes = 0
        self._written = 0
        self._failed = 0
        self._lost_to_disk = 0
        self._said_left_out = False
        self._trouble = ""
        """Why lines cannot be written now."""

    def start(self) -> None:
        """Start the thread, and say what it writes and where."""
        what = "predictions with their bodies" if self._pictures else "predictions without their bodies"
        log.info("capture: %g %% of the %s into %s", 100 * self._share, what, self._ring.folder)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end the thread; one that hangs at a dead disk is left alone."""
        self._queue.put(None)
        self._thread.join(PATIENCE)

    def __call__(self, finished: FinishedRequest) -> None:
        """Take a request if it is one of the share; on the event loop."""
        if (
            finished.route not in CAPTURED_ROUTES
            or not finished.body
            or finished.status not in CAPTURED_STATUSES
            or not in_share(finished.context.id, self._share)
            or finished.fields.get(b"user-agent", b"").startswith(OF_A_REPLAY)
        ):
            return
        size = waiting_bytes(finished)
        if self._taken_bytes - self._done_bytes + size > QUEUE_BYTES:
            self._left_out += 1
            return
        self._taken_bytes += size
        self._queue.put((finished, time.time() - finished.context.latency))

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return `contraflow_captured_requests_total`."""
        counts = CounterMetricFamily(
            "contraflow_captured_requests",
            "Requests chosen to be captured, by what became of them",
            labels=("outcome",),
        )
        counts.add_metric(("written",), self._written)
        counts.add_metric(("lost",), self._failed + self._left_out)
        return (counts,)

    def _work(self) -> None:
        """Write what comes until None comes."""
        while (first := self._queue.get()) is not None:
            time.sleep(PAUSE)
            chunk: list[bytes] = []
            size = 0
            for waiting in self._gathered(first):
                line = self._line_of(*waiting)
                if chunk and size + len(line) > CHUNK_BYTES:
                    self._write(chunk)
                    chunk, size = [], 0
                if line:
                    chunk.append(line)
                    size += len(line)
                self._done_bytes += waiting_bytes(waiting[0])
            if chunk:
                self._write(chunk)
            self._say_what_is_left_out()
        self._ring.close()

    def _gathered(self, first: Waiting) -> Iterator[Waiting]:
        """Yield a request and those that came after it."""
        yield first
        with contextlib.suppress(Empty):
            while (following := self._queue.get_nowait()) is not None:
                yield following
            self._queue.put(None)

    def _line_of(self, finished: FinishedRequest, came: float) -> bytes:
        """Return the request's line; one that no file has room for goes without the body, and empty if need be."""
        try:
            line = self._line(finished, came, self._pictures)
            if self._pictures and len(line) > self._ring.largest_file:
                line = self._line(finished, came, False)
        except Exception:
            log.exception("a request cannot be captured", extra={"request_id": finished.context.id})
            line = b""
        if 0 < len(line) <= self._ring.largest_file:
            return line
        self._failed += 1
        return b""

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._ring.append(b"".join(lines))
        except OSError as error:
            self._failed += len(lines)
            self._lost_to_disk += len(lines)
            self._say(error_in_words(error))
        else:
            self._written += len(lines)
            self._say("")

    def _say_what_is_left_out(self) -> None:
        """Log once that requests were lost although the disk takes them."""
        if not (self._trouble or self._said_left_out) and self._left_out + self._failed > self._lost_to_disk:
            log.warning(
                "not every request is captured: more bytes come than can be written, or an answer is larger than a "
                "sixteenth of capture_max_bytes; contraflow_captured_requests_total counts them"
            )
            self._said_left_out = True

    def _say(self, trouble: str) -> None:
        """Log the beginning and the end of a trouble, and nothing between."""
        if trouble and trouble != self._trouble:
            log.error("requests are served, but not captured: %s", trouble)
        elif self._trouble and not trouble:
            log.warning("requests are captured again; %d were lost so far", self._failed + self._left_out)
        self._trouble = trouble


def in_share(request_id: str, share: float) -> bool:
    """Tell whether a request is one of the share: by its id alone, so that a smaller share is part of a larger one."""
    if share >= 1:
        return True
    return int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8]) < share * 2**64


def waiting_bytes(finished: FinishedRequest) -> int:
    """Return what a request takes while it waits."""
    return len(finished.body) + len(finished.answer) + OVERHEAD_BYTES
