"""Which addresses there are, and what each takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute, Route

from service.errors import NotFound

WHOLE_SERVER = "*"
"""The path of a question about the server as such: `OPTIONS *`."""


class Addresses:
    """All of the service's routes."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = [route for route in routes if isinstance(route, Route)]

    def allow(self, path: str) -> str:
        """The methods that `path` takes, for an `Allow` header.

        Raises:
            NotFound: there is no such address.
        """
        routes = self._routes if path == WHOLE_SERVER else list(self._at(path))
        if not routes:
            raise nothing_at(path)
        methods = {method for route in routes for method in route.methods or ()}
        return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))

    def route(self, path: str) -> str:
        """The pattern that `path` fits, under which it is counted."""
        return next((route.path for route in self._at(path)), "other")

    def _at(self, path: str) -> Iterable[Route]:
        return (route for route in self._routes if route.path_regex.match(path))


def nothing_at(path: str) -> NotFound:
    """The error for an address that does not exist."""
    return NotFound(f"There is nothing at {path[:200]}.")
