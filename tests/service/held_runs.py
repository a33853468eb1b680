"""Runs that last until a test lets them end, however fast or busy the machine is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.contract.arrays import Array
from service.contract.runtime.runs import RunHandle
from service.contract.runtime.session import Session
from tests.service.live_server import LiveServer

SECONDS_BETWEEN_LOOKS = 0.005


class HeldSession(Session):
    """A real session whose runs wait, each before its first node, until they are let go or stopped."""

    def __init__(self, session: Session) -> None:
        super().__init__(session._session)
        self._wide = session._wide
        self._released = threading.Event()

    def run(self, feeds: Mapping[str, Array], handle: RunHandle | None = None) -> dict[str, Array]:
        while not self._released.wait(SECONDS_BETWEEN_LOOKS):
            if handle is not None and handle.stopped:
                break
        return super().run(feeds, handle)

    def let_go(self) -> None:
        """Let every run go on, those that are still to come too."""
        self._released.set()


@contextmanager
def held_runs(server: LiveServer, model: str) -> Iterator[HeldSession]:
    """Hold every prediction of `model` in its run slot, until it is let go or the context ends."""
    graph = server.state.registry.select(model).graphs["forward"]
    session = graph.session
    assert session is not None
    held = graph.session = HeldSession(session)
    try:
        yield held
    finally:
        held.let_go()
        graph.session = session
