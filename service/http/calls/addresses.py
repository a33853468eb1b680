"""Finds the endpoint that answers an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.routing import BaseRoute, Route

from service.errors import MethodNotAllowed, NotFound

WHOLE_SERVER = "*"
"""The path of a question about the server as such: `OPTIONS *`."""


class Addresses:
    """All routes of the service; a path without parameters wins over patterns that match it too."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = [route for route in routes if isinstance(route, Route)]
        self._without_parameters = {
            (method, route.path): route
            for route in self._routes
            for method in route.methods or ()
            if not route.param_convertors
        }

    def find(self, method: str, path: str) -> tuple[Route, dict[str, Any]]:
        """Return the route for a request, and the parameters in its path.

        Raises:
            NotFound: there is no such address.
            MethodNotAllowed: the address does not take that method.
        """
        known = self._without_parameters.get((method, path))
        if known is not None:
            return known, {}
        at_path = self._at(path)
        for route in at_path:
            if method in (route.methods or ()):
                return route, _path_parameters(route, path)
        if not at_path:
            raise nothing_at(path)
        allowed = _methods(at_path)
        raise MethodNotAllowed(f"{path[:200]} takes {allowed}.", allowed=allowed)

    def allow(self, path: str) -> str:
        """Return the methods that `path` takes, for an `Allow` header.

        Raises:
            NotFound: there is no such address.
        """
        routes = self._routes if path == WHOLE_SERVER else self._at(path)
        if not routes:
            raise nothing_at(path)
        return _methods(routes)

    def allow_here_or_anywhere(self, path: str) -> str:
        """Return the methods that `path` takes, or where there is no such address those of the whole server."""
        return _methods(self._at(path) or self._routes)

    def pattern(self, path: str) -> str:
        """Return the pattern under which requests for `path` are counted."""
        return next((route.path for route in self._at(path)), "other")

    def _at(self, path: str) -> list[Route]:
        return [route for route in self._routes if route.path_regex.match(path)]


def nothing_at(path: str) -> NotFound:
    """Return the error for an address that does not exist."""
    return NotFound(f"There is nothing at {path[:200]}.")


def _path_parameters(route: Route, path: str) -> dict[str, Any]:
    match = route.path_regex.match(path)
    assert match is not None
    return {name: route.param_convertors[name].convert(value) for name, value in match.groupdict().items()}


def _methods(routes: Iterable[Route]) -> str:
    methods = {method for route in routes for method in route.methods or ()}
    return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))
