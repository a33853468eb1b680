"""Notices clients that do not read their answers."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

TCP_INFO = getattr(socket, "TCP_INFO", None)
BYTES_ACKNOWLEDGED = 120
"""Offset of `tcpi_bytes_acked` in Linux's tcp_info: the bytes that the other side has taken, 64 bits."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing throws away what is unsent, in the system too."""


class UnreadAnswer:
    """Answers that one client has not read yet."""

    __slots__ = ("_left", "_since", "_taken")

    def __init__(self) -> None:
        self._since: float | None = None
        self._left = 0
        self._taken = 0

    def seconds(self, transport: asyncio.Transport, now: float) -> float:
        """Return the seconds for which the client has taken nothing of what waits for it. Call it regularly.

        The transport's buffer says little: the system buffers megabytes more, and accepts the next only when a third of
        them is gone. So the system's count of acknowledged bytes is looked at too, where it is known.
        """
        left = transport.get_write_buffer_size()
        if not left:
            self._since = None
            return 0.0
        taken = _bytes_taken(transport)
        if self._since is None or left < self._left or taken > self._taken:
            self._since = now
        self._left, self._taken = left, taken
        return now - self._since


def reset(transport: asyncio.Transport) -> None:
    """End a connection, and throw away what its client has not read."""
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


def _bytes_taken(transport: asyncio.Transport) -> int:
    if TCP_INFO is None:
        return 0
    try:
        connection = transport.get_extra_info("socket")
        information = connection.getsockopt(socket.IPPROTO_TCP, TCP_INFO, BYTES_ACKNOWLEDGED + 8)
    except OSError:
        return 0
    return (
        int(struct.unpack_from("Q", information, BYTES_ACKNOWLEDGED)[0])
        if len(information) == BYTES_ACKNOWLEDGED + 8
        else 0
    )
