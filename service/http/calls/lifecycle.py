"""Whether the service is taking its leave."""

from __future__ import annotations


class Lifecycle:
    """Set once by the server on SIGTERM; read by readiness and by every answer (`Connection: close`)."""

    def __init__(self) -> None:
        self.draining = False
