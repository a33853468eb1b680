"""The connection's side of a call, as far as the call needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from service.http.answers.responses import RawHeaders

EXCHANGE = "contraflow.exchange"
"""ASGI extension under which our server passes the `Exchange` of a request."""


class Exchange(Protocol):
    """One request and its answer on a connection. It does more than ASGI, and at less cost."""

    on_lost: Callable[[], None] | None
    """Called when the client goes before its answer is complete."""

    @property
    def lost(self) -> bool:
        """True once the client has gone."""

    def whole_body(self) -> bytes | None:
        """Return the body if it has arrived whole, and None if it must be read by ASGI messages. Works once."""

    def write(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Write a whole answer at once."""

    async def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Wait for a client that is slow to read earlier answers, then `write`."""

    async def send(self, message: Any) -> None:
        """Send one ASGI message of an answer in pieces."""
