"""Who sent a request that a proxy passed on, and by which scheme: `Forwarded` (RFC 7239) and `X-Forwarded-*`.

Anyone can write these headers, so they are read only if the connection comes from a proxy that the settings trust.
Each proxy adds the address it was called from at the end. They are read from there: the client is the first address
that is not a trusted proxy. What is left of an address that cannot be read is not believed either.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from service.http.answers.header_fields import members, parameters
from service.http.answers.responses import RawHeaders
from service.settings.values import ANY, UNIX

Client = tuple[str, int]
"""Host and port; `UNIX` stands for the host of a peer without an address, and 0 for a port that is not known."""

MOST_HOPS: Final = 32
"""Addresses that are read of one header; a request does not pass more proxies."""

LONGEST_FORWARDED: Final = 4096
"""Characters of `Forwarded` beyond which it is not read: its quotes must be read from the beginning."""

FIELDS: Final = frozenset((b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"))
SCHEMES: Final = ("http", "https")


class TrustedProxies:
    """The proxies that the settings trust."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._all = ANY in trusted
        self._unix = UNIX in trusted
        self._networks = [ip_network(one) for one in trusted if one not in (ANY, UNIX)]

    def trust(self, host: str) -> bool:
        """Return whether the proxy at `host` is trusted; `UNIX` if it is connected over a Unix socket."""
        return self._all or (self._unix if host == UNIX else self._trust_address(ip_address(host)))

    def _trust_address(self, address: IPv4Address | IPv6Address) -> bool:
        return self._all or any(address in network for network in self._networks)

    def sender(self, peer: Client, scheme: str, fields: RawHeaders) -> tuple[Client, str]:
        """Return the client and the scheme of a request that the trusted `peer` passed on by `scheme`.

        `fields` are those of the head that `forwarded_fields` returns. Where both kinds of headers are there and name
        different clients, a proxy has passed on one that it does not know, and neither is believed.
        """
        plain = [
            text for text in _joined(fields, b"x-forwarded-for").rsplit(",", MOST_HOPS)[-MOST_HOPS:] if text.strip()
        ]
        plain_client, _ = self._outermost([(_node(text), "") for text in reversed(plain)])
        protocols = [value.decode("latin-1").strip() for name, value in fields if name == b"x-forwarded-proto"]
        protocol = protocols[0].lower() if len(protocols) == 1 else ""
        standard = _joined(fields, b"forwarded")
        if standard:
            readable = members(standard)[-MOST_HOPS:] if len(standard) <= LONGEST_FORWARDED else []
            elements = [parameters("_;" + element)[1] for element in readable]
            client, standard_protocol = self._outermost(
                [(_node(element.get("for", "")), element.get("proto", "").lower()) for element in reversed(elements)]
            )
            if plain_client is not None and (client is None or client[0] != plain_client[0]):
                return peer, scheme
            plain_client = client or plain_client
            contradict = protocol and standard_protocol and protocol != standard_protocol
            protocol = "" if contradict else protocol or standard_protocol
        return plain_client or peer, protocol if protocol in SCHEMES else scheme

    def _outermost(self, hops: Iterable[tuple[Client | None, str]]) -> tuple[Client | None, str]:
        """Return the first hop, read from this service outwards, that is no trusted proxy."""
        last: tuple[Client | None, str] = None, ""
        for client, protocol in hops:
            if client is None:
                break
            last = client, protocol
            if not self._trust_address(ip_address(client[0])):
                break
        return last


def forwarded_fields(headers: RawHeaders) -> RawHeaders:
    """Return the fields that tell who sent a request."""
    return [field for field in headers if field[0] in FIELDS]


def _joined(fields: RawHeaders, name: bytes) -> str:
    return b",".join([value for known, value in fields if known == name]).decode("latin-1")


def peer_of(address: Client | None, transport: asyncio.BaseTransport) -> Client | None:
    """Return the other side of a connection by its address, which is None over a Unix socket, and for one that is gone.

    An address of IPv4 is returned as such, where a socket for both families has it mapped to IPv6.
    """
    if address is not None:
        host, port = address
        return (_unmapped(ip_address(host)), port) if host.startswith("::ffff:") else address
    connection = transport.get_extra_info("socket")
    return (UNIX, 0) if connection is not None and connection.family == socket.AF_UNIX else None


def _unmapped(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _node(text: str) -> Client | None:
    """Return the address of a hop, `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; else None."""
    text = text.strip()
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        if port and not port.startswith(":"):
            return None
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    try:
        address = _unmapped(ip_address(host))
    except ValueError:
        return None
    if port and not (port.isascii() and port.isdigit() and int(port) < 2**16):
        return None
    return address, int(port or 0)
