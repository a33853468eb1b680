"""Rules of RFC 9110 and 9112 for the head of a request that the parser does not check.

The parser (llhttp) refuses what cannot be parsed: folded fields, bare line feeds, two lengths, a length beside a
transfer coding. This file refuses heads that can be parsed and are still not valid, and reads a few things differently
from the parser.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from service.errors import (
    ExpectationFailed,
    MalformedRequest,
    NotImplementedHere,
    ServiceError,
    VersionNotSupported,
)
from service.http.answers.responses import RawHeaders

VERSIONS = ("1.1", "1.0")

HOST = re.compile(rb"(?:[\w.~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?", re.ASCII)
"""A host name, an address or nothing, then an optional port."""

TLS_HANDSHAKE = b"\x16\x03"


class PartOfHead(NamedTuple):
    """The part of a head that was read before it was refused; nothing of what is no HTTP."""

    method: str
    path: str
    query: bytes
    headers: RawHeaders


NO_HEAD = PartOfHead("-", "", b"", [])


def check_head(version: str, headers: RawHeaders) -> None:
    """Refuse a head that an HTTP/1.1 server must not accept.

    Raises:
        VersionNotSupported: neither HTTP/1.0 nor HTTP/1.1.
        MalformedRequest: no host or several, or a body of unknown length.
        NotImplementedHere: a transfer coding that is not known.
        ExpectationFailed: an expectation that is not known.
    """
    if version not in VERSIONS:
        raise VersionNotSupported(f"This is HTTP/{version}; HTTP/1.1 and HTTP/1.0 are spoken here.")
    _check_host(version, values_of(headers, b"host"))
    _check_codings(version, values_of(headers, b"transfer-encoding"))
    expected = b",".join(values_of(headers, b"expect")).lower()
    if version == "1.1" and expected not in (b"", b"100-continue"):
        raise ExpectationFailed("The only expectation that is supported is `100-continue`.")


def values_of(headers: RawHeaders, name: bytes) -> list[bytes]:
    """Return the values of all header fields with one name, in order."""
    return [value for known, value in headers if known == name]


def _check_host(version: str, hosts: list[bytes]) -> None:
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise MalformedRequest(f"A request has one Host header; this one has {len(hosts)}.")
    if hosts and not HOST.fullmatch(hosts[0]):
        raise MalformedRequest("The Host header is not a valid host.")


def _check_codings(version: str, values: list[bytes]) -> None:
    if not values:
        return
    if version == "1.0":
        raise MalformedRequest("HTTP/1.0 has no transfer codings; send the body with its Content-Length.")
    codings = [coding.strip().lower() for coding in b",".join(values).split(b",")]
    unknown = [coding for coding in codings if coding != b"chunked"]
    if unknown:
        raise NotImplementedHere(f"The transfer coding {unknown[0].decode('latin-1')!r} is unsupported; use `chunked`.")
    if len(codings) > 1:
        raise MalformedRequest("A body may be chunked only once.")


def read_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Return path (still escaped) and query of a request target; `OPTIONS *`, about the whole server, has the path `*`.

    Raises:
        MalformedRequest: it is neither a path nor an http URL.
    """
    if not target.startswith(b"/"):
        target = _after_the_authority(method, target)
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query


def path_of(raw: bytes) -> str:
    """Return a path without its escapes."""
    return unquote(raw.decode("ascii")) if b"%" in raw else raw.decode("ascii")


def part_of_head(method: bytes, target: bytes, headers: RawHeaders) -> PartOfHead:
    """Return a head that may have been refused for its target, of which nothing is kept then: it may hold a password.

    `target` may be a part of one.
    """
    try:
        path, query = read_target(method, target)
        return PartOfHead(method.decode("ascii"), path_of(path), query, headers)
    except (MalformedRequest, UnicodeDecodeError):
        return PartOfHead(method.decode("ascii"), "", b"", headers)


def _after_the_authority(method: bytes, target: bytes) -> bytes:
    if target == b"*" and method == b"OPTIONS":
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise MalformedRequest("The request target is neither a path nor an http URL.")
    start = min((index for index in map(rest.find, (b"/", b"?", b"#")) if index >= 0), default=len(rest))
    if start == len(rest) and method == b"OPTIONS":
        return b"*"
    return rest[start:] if rest[start : start + 1] == b"/" else b"/" + rest[start:]


def without_prefix(path: str, prefix: str) -> str:
    """Return what follows `prefix` in a path, which is "/" for the prefix alone; another path is returned as it is."""
    if not path.startswith(prefix):
        return path
    rest = path[len(prefix) :]
    return rest or "/" if rest[:1] in ("", "/") else path


def escaped(line: bytes) -> bytes:
    """Escape every byte of a request line that is not ASCII, as browsers do: the parser accepts no others."""
    return b"".join([b"%%%02X" % byte if byte > 127 else bytes((byte,)) for byte in line])


def without_offer(method: bytes, target: bytes, version: str, headers: RawHeaders) -> bytes:
    """Write a head again, without its offer to switch to another protocol."""
    kept = [b"%s: %s\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join([b"%s %s HTTP/%s\r\n" % (method, target, version.encode()), *kept, b"\r\n"])


def unreadable(reason: str, data: bytes) -> ServiceError:
    """Return the error for input that the parser could not read: `reason` in its words, `data` where it happened."""
    if reason == "Invalid HTTP version":
        return VersionNotSupported("HTTP/1.1 and HTTP/1.0 are spoken here.")
    if reason == "Pause on PRI/Upgrade":
        return VersionNotSupported("HTTP/2 is not spoken here; use HTTP/1.1.")
    if data.startswith(TLS_HANDSHAKE):
        return MalformedRequest("This looks like TLS; this port speaks plain HTTP.")
    return MalformedRequest(f"This is not HTTP/1.1: {reason}.")
