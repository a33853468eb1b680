"""Sends captured requests again, some at a time, and compares the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from service.client.errors import ContraflowError
from service.client.replay.differences import compared
from service.client.replay.requests import NotReplayed, Outgoing, outgoing
from service.client.replay.sending import Address, Connection
from service.client.replay.tally import DAMAGED, Tally
from service.monitoring.capture.reading import CapturedRequest, captured_requests


class Replay:
    """One run over captured requests. The file is read as the requests go out, so memory does not grow with it."""

    def __init__(self, files: list[Path], address: Address, model: str | None, tolerance: float) -> None:
        """`model` is that of all requests; None leaves each the one that it asked for."""
        self.tally = Tally(address.url)
        self._requests = captured_requests(files)
        self._address, self._model, self._tolerance = address, model, tolerance
        self._lock = threading.Lock()
        self._failure: Exception | None = None

    def run(self, concurrency: int) -> Tally:
        """Send everything, `concurrency` requests at a time.

        Raises:
            ContraflowError: the service does not answer, or wants a key.
            OSError: a file cannot be read.
        """
        connections = [Connection(self._address) for _ in range(concurrency)]
        threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        return self.tally

    def _work(self, connection: Connection) -> None:
        try:
            for captured, request in self._next():
                received = connection.send(request)
                before, now = (captured.status, captured.answer), (received.status, received.body)
                result = compared(before, now, self._tolerance)
                with self._lock:
                    self.tally.add(captured, received, result)
        except (ContraflowError, OSError, ValueError) as error:
            self._failure = self._failure or error
        finally:
            connection.close()

    def _next(self) -> Iterator[tuple[CapturedRequest, Outgoing]]:
        """Yield requests that can be sent until there are no more, or one has failed."""
        while self._failure is None:
            with self._lock:
                try:
                    captured = next(self._requests)
                except StopIteration:
                    return
                try:
                    if captured is None:
                        raise NotReplayed(DAMAGED)
                    request = outgoing(captured, self._model)
                except NotReplayed as reason:
                    self.tally.left_out[str(reason)] += 1
                    continue
            yield captured, request
