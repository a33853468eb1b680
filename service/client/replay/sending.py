"""One connection to the service that answers the captured requests once more."""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from service import __version__
from service.client.errors import ContraflowError
from service.client.replay.requests import Outgoing
from service.monitoring.capture.reading import REPLAYING
from service.output.system_errors import system_reason

REFUSED: Final = (401, 403)
BUSY: Final = (429, 502, 503, 504)
"""Statuses that speak of the service's load, or of a proxy that does not reach it; they are never captured."""
PATIENCE: Final = 30.0
"""Seconds in which a busy service is asked again."""
LONGEST_WAIT: Final = 5.0
DURATION: Final = re.compile(r"dur=([0-9.]+)")


class Received(NamedTuple):
    """An answer; the time is the service's own where it says so, without the network."""

    status: int
    body: bytes
    latency_ms: float


class Address(NamedTuple):
    """The address of the service, and how to ask it."""

    url: str
    key: str | None
    timeout: float
    """Seconds."""


class Connection:
    """A connection that is kept open from request to request. Used by one thread."""

    def __init__(self, address: Address) -> None:
        """Connect later, with the first request.

        Raises:
            ContraflowError: the address is none.
        """
        self._address = address
        try:
            parts = urlsplit(address.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if host is None or parts.scheme not in kinds or parts.query or parts.fragment:
            raise ContraflowError(f"--against {address.url}: the address of a service is needed, http://HOST:PORT")
        self._prefix = parts.path.rstrip("/")
        self._connection = kinds[parts.scheme](host, port, timeout=address.timeout)
        self._headers = {"User-Agent": f"{REPLAYING}{__version__}"}
        if address.key is not None:
            self._headers["Authorization"] = f"Bearer {address.key}"

    def send(self, request: Outgoing) -> Received:
        """Send a request, again if the service is busy, and return the answer.

        Raises:
            ContraflowError: the service does not answer, stays busy, or wants another key.
        """
        end = time.monotonic() + PATIENCE
        while True:
            received, wait = self._sent(request)
            if received.status in REFUSED:
                raise ContraflowError(
                    f"{self._address.url} wants a key that it knows: give it by the variable CONTRAFLOW_API_KEY or by "
                    "--key-file"
                )
            if received.status not in BUSY:
                return received
            if time.monotonic() + wait > end:
                words = _detail(received.body)
                raise ContraflowError(f"{self._address.url} answers with status {received.status} for long: {words}")
            time.sleep(wait)

    def close(self) -> None:
        self._connection.close()

    def _sent(self, request: Outgoing) -> tuple[Received, float]:
        """Return the answer, and the seconds after which to ask again if need be."""
        fresh = self._connection.sock is None
        try:
            return self._exchange(request)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not fresh and not isinstance(error, TimeoutError):  # the service has closed an idle connection
                return self._sent(request)
            words = (system_reason(error) if isinstance(error, OSError) else str(error)) or type(error).__name__
            raise ContraflowError(f"{self._address.url} does not answer: {words}") from None

    def _exchange(self, request: Outgoing) -> tuple[Received, float]:
        began = time.perf_counter()
        headers = {**request.headers, **self._headers}
        self._connection.request(request.method, self._prefix + request.target, request.body, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        measured = 1e3 * (time.perf_counter() - began)
        stages = DURATION.findall(answer.headers.get("server-timing", ""))
        latency = sum(map(float, stages)) if stages else measured
        return Received(answer.status, body, latency), _wait(answer.headers.get("retry-after", ""))


def _wait(retry_after: str) -> float:
    return min(float(retry_after), LONGEST_WAIT) if retry_after.isdecimal() else 1.0


def _detail(body: bytes) -> str:
    """Return what a refusal says, of either interface."""
    try:
        document = json.loads(body)
        return str(document.get("detail") or document["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it does not say why"
