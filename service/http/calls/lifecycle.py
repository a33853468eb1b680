"""Tells whether the service is shutting down."""

from __future__ import annotations


class Lifecycle:
    """`draining` is set once, by the server on SIGTERM; readiness and the headers of every answer depend on it."""

    def __init__(self) -> None:
        self.draining = False
