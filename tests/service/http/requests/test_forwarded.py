"""Who sent a request that a proxy passed on: which words are believed, and from whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.requests.forwarded import FIELDS, TrustedProxies
from tests.service.live_server import LiveServer, running
from tests.service.raw_http import get, read_one

PEER = ("10.0.0.1", 999)
TRUSTED = ("10.0.0.0/8", "2001:db8::/32")

TOLD = {
    "nothing": ({}, PEER),
    "one client": ({"x-forwarded-for": "192.0.2.1"}, ("192.0.2.1", 0)),
    "with a port": ({"x-forwarded-for": "192.0.2.1:80"}, ("192.0.2.1", 80)),
    "of IPv6": ({"x-forwarded-for": "2001:DB9::1"}, ("2001:db9::1", 0)),
    "of IPv6 with a port": ({"x-forwarded-for": "[2001:db9::1]:80"}, ("2001:db9::1", 80)),
    "of IPv4 in IPv6": ({"x-forwarded-for": "::ffff:192.0.2.1"}, ("192.0.2.1", 0)),
    "the client's own word": ({"x-forwarded-for": "6.6.6.6, 192.0.2.1"}, ("192.0.2.1", 0)),
    "through two proxies": ({"x-forwarded-for": "6.6.6.6, 192.0.2.1, 2001:db8::7, 10.9.9.9"}, ("192.0.2.1", 0)),
    "proxies alone": ({"x-forwarded-for": "10.0.0.3, 10.0.0.2"}, ("10.0.0.3", 0)),
    "no address": ({"x-forwarded-for": "unknown"}, PEER),
    "no address before a proxy": ({"x-forwarded-for": "1.2.3.4, x, 10.0.0.2"}, ("10.0.0.2", 0)),
    "a number too large": ({"x-forwarded-for": "192.0.2.1:65536"}, PEER),
    "a bracket": ({"x-forwarded-for": "[2001:db9::1]x"}, PEER),
    "a standard client": ({"forwarded": 'For="[2001:db9::1]:80";proto=https;by=x'}, ("2001:db9::1", 80)),
    "a standard chain": ({"forwarded": "for=6.6.6.6, for=192.0.2.1;proto=http, for=10.0.0.2"}, ("192.0.2.1", 0)),
    "a hidden client": ({"forwarded": "for=_hidden"}, PEER),
    "both, which agree": (
        {"forwarded": 'for="192.0.2.1:80"', "x-forwarded-for": "192.0.2.1"},
        ("192.0.2.1", 80),
    ),
    "both, one of them the client's": ({"forwarded": "for=6.6.6.6", "x-forwarded-for": "192.0.2.1"}, PEER),
}


@pytest.mark.parametrize(("told", "client"), TOLD.values(), ids=TOLD)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(told: dict[str, str], client: tuple[str, int]) -> None:
    fields = [(name.encode(), value.encode()) for name, value in told.items()]
    assert TrustedProxies(TRUSTED).sender(PEER, "http", fields)[0] == client


SCHEMES = {
    "plain": ({"x-forwarded-proto": "HTTPS"}, "https"),
    "several": ({"x-forwarded-proto": "https, http"}, "http"),
    "another": ({"x-forwarded-proto": "gopher"}, "http"),
    "standard": ({"forwarded": "for=192.0.2.1;proto=https"}, "https"),
    "contradicting": ({"forwarded": "for=192.0.2.1;proto=http", "x-forwarded-proto": "https"}, "http"),
    "one of both": (
        {"forwarded": "for=192.0.2.1", "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https"},
        "https",
    ),
}


@pytest.mark.parametrize(("told", "scheme"), SCHEMES.values(), ids=SCHEMES)
def test_the_scheme_is_that_of_the_client(told: dict[str, str], scheme: str) -> None:
    fields = [(name.encode(), value.encode()) for name, value in told.items()]
    assert TrustedProxies(TRUSTED).sender(PEER, "http", fields)[1] == scheme


def test_where_all_are_trusted_the_first_address_counts() -> None:
    fields = [(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2"), (b"x-forwarded-for", b"3.3.3.3")]
    assert TrustedProxies(("*",)).sender(PEER, "http", fields)[0] == ("1.1.1.1", 0)


def test_proxies_are_trusted_by_address_network_and_unix_socket() -> None:
    trusted = TrustedProxies(("192.0.2.7", "10.0.0.0/8", "unix"))
    assert [trusted.trust(host) for host in ("192.0.2.7", "10.1.2.3", "unix", "192.0.2.8", "::1")] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert not TrustedProxies(("::1",)).trust("unix")


PIECES = st.text(st.sampled_from('0123456789abcdef.:[],;="_\\ forptx%\xff'), max_size=60)


@given(st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), PIECES)))
def test_whatever_is_told_is_an_address_or_not_believed(fields: list[tuple[bytes, str]]) -> None:
    told = [(name, value.encode("latin-1")) for name, value in fields]
    client, scheme = TrustedProxies(("*",)).sender(PEER, "http", told)
    assert scheme in ("http", "https")
    assert 0 <= client[1] < 2**16
    assert TrustedProxies((client[0],)).trust(client[0])


def clients_of(server: LiveServer, *told: str) -> list[object]:
    """Return the client that the service sees for requests on one connection with these headers."""
    seen: list[object] = []
    with server.connect() as connection:
        for line in told:
            connection.sendall(get("/health/live", line))
            assert read_one(connection).status == 200
            served = server.connection_from(connection.getsockname()[1])
            assert served is not None
            seen.append(served.cycle.scope["client"])
    return seen


def test_the_word_of_a_trusted_proxy_is_taken_and_of_nobody_else(tmp_path: Path) -> None:
    """A client is one object on one connection: the engine runs at once what one client sends piece by piece."""
    with running(tmp_path / "nothing", trusted_proxies="127.0.0.0/8, ::1", loaded=False) as server:
        first, same, other = clients_of(server, *["X-Forwarded-For: 192.0.2.1"] * 2, "X-Forwarded-For: 192.0.2.2")
        assert (first, other) == (("192.0.2.1", 0), ("192.0.2.2", 0))
        assert first is same
    for trusted in ("", "10.0.0.0/8,unix"):
        with running(tmp_path / "nothing", trusted_proxies=trusted, loaded=False) as server:
            (peer,) = clients_of(server, "X-Forwarded-For: 192.0.2.1")
        assert isinstance(peer, tuple)
        assert peer[0] == "127.0.0.1"
