"""systemd's two protocols for services: listening sockets that it passes, and messages to it.

`sd_listen_fds(3)` and `sd_notify(3)` describe them.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, MutableMapping

from service.http.starting import StartError, reason

log = logging.getLogger("contraflow.server")

FIRST_DESCRIPTOR = 3
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def passed_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets that were passed to this process, and forget the variables that said so.

    Children must neither read the variables nor inherit the sockets. What was passed to another process is ignored.

    Raises:
        StartError: what was passed is no listening stream socket.
    """
    given = {name: environment.pop(name, "") for name in VARIABLES}
    if given["LISTEN_PID"] != str(os.getpid()) or not given["LISTEN_FDS"]:
        return []
    count = given["LISTEN_FDS"]
    if not count.isascii() or not count.isdigit():
        raise StartError(f"LISTEN_FDS, which systemd sets: {count[:20]!r} is no number of sockets")
    return [_listening(number) for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))]


def _listening(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
        kind = one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"LISTEN_FDS, which systemd sets: descriptor {descriptor}: {reason(error)}") from None
    if one.family not in FAMILIES or kind != socket.SOCK_STREAM or not listens:
        raise StartError(
            f"LISTEN_FDS, which systemd sets: descriptor {descriptor} is not a stream socket that listens; the socket "
            "unit needs ListenStream= and Accept=no"
        )
    return one


def notify(environment: Mapping[str, str], message: str) -> None:
    """Tell systemd a `message` such as READY=1, where it wants to be told (`Type=notify`)."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("systemd was not told %s: %s", message, reason(error))
