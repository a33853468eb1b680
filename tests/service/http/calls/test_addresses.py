"""The endpoint that is found for an address, and what is said of addresses without one."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.routing import Route

from service.errors import MethodNotAllowed, NotFound
from service.http.calls.addresses import WHOLE_SERVER, Addresses


async def endpoint(_: Any) -> None: ...


ADDRESSES = Addresses(
    [
        Route("/models/{name}", endpoint, methods=["GET"]),
        Route("/models/all", endpoint, methods=["GET"]),
        Route("/models/all", endpoint, methods=["POST"]),
        Route("/files/{path:path}", endpoint, methods=["GET"]),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "pattern", "parameters"),
    [
        ("GET", "/models/all", "/models/all", {}),
        ("POST", "/models/all", "/models/all", {}),
        ("GET", "/models/tiny", "/models/{name}", {"name": "tiny"}),
        ("GET", "/files/a/b.css", "/files/{path:path}", {"path": "a/b.css"}),
    ],
)
def test_a_request_finds_its_endpoint(method: str, path: str, pattern: str, parameters: dict[str, str]) -> None:
    route, found = ADDRESSES.find(method, path)
    assert (route.path, found) == (pattern, parameters)


def test_another_method_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        ADDRESSES.find("POST", "/models/tiny")
    assert refused.value.allowed == ADDRESSES.allow("/models/tiny") == "GET, HEAD, OPTIONS"


def test_an_unknown_address_is_counted_with_all_others() -> None:
    with pytest.raises(NotFound):
        ADDRESSES.find("GET", "/nothing")
    with pytest.raises(NotFound):
        ADDRESSES.allow("/nothing")
    assert ADDRESSES.pattern("/nothing") == "other"


def test_the_whole_server_allows_what_any_address_allows() -> None:
    assert ADDRESSES.allow(WHOLE_SERVER) == "GET, HEAD, OPTIONS, POST"
