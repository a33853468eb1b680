"""Sockets bound to addresses and a port, of IPv4, IPv6 or both."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from service.http.starting import PortSetting, StartError, reason, why_not_bound
from service.settings.reading import names_of_setting

Address = tuple[str, int] | tuple[str, int, int, int]

NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address that this machine has not; `localhost` often has one of IPv6 in a container without it."""


def bound_sockets(hosts: Sequence[str], port: int, setting: PortSetting = "http_port") -> list[socket.socket]:
    """Return sockets that are bound to every address of `hosts`, and take no connections yet.

    They have one port, that of `setting`, also where it is 0. `::` takes IPv4 too, unless an IPv4 address is named
    beside it.

    Raises:
        StartError: a host has no address, or one that is taken, may not be used or is not of this machine.
    """
    addresses = {host: _addresses(host, port) for host in hosts}
    both_families = all(family == socket.AF_INET6 for found in addresses.values() for family, _ in found)
    sockets: dict[tuple[int, Address], socket.socket] = {}
    with ExitStack() as undo:
        for host, found in addresses.items():
            lacking: OSError | None = None
            for family, address in found:
                if (family, address) in sockets:
                    continue  # two hosts may have one address, as localhost and 127.0.0.1 have
                shared_port = next(iter(sockets.values())).getsockname()[1] if sockets else port
                try:
                    one = _bound(family, (address[0], shared_port, *address[2:]), both_families)
                except OSError as error:
                    if error.errno not in NOT_HERE:
                        raise StartError(why_not_bound(error, host, shared_port, setting)) from None
                    lacking = error
                else:
                    undo.callback(one.close)
                    sockets[family, address] = one
            if sockets.keys().isdisjoint(found):
                assert lacking is not None
                raise StartError(why_not_bound(lacking, host, port, setting)) from None
        undo.pop_all()
    return list(sockets.values())


def _addresses(host: str, port: int) -> list[tuple[int, Address]]:
    """Return every address of a host once, each with its family."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StartError(f"{names_of_setting('host')}: there is no host {host!r}: {reason(error)}") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]


def _bound(family: int, address: Address, both_families: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both_families)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def shown(one: socket.socket) -> str:
    """Return the URL of a bound socket; `localhost` for all addresses."""
    host, port = one.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
