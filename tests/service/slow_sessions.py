"""Sessions whose runs take longer than they need, however fast the machine is."""

from __future__ import annotations

import time
from collections.abc import Mapping

from service.contract.arrays import Array
from service.contract.runtime.runs import RunHandle
from service.contract.runtime.session import Session


class SlowSession(Session):
    """A real session whose runs take `seconds` longer for each image."""

    def __init__(self, session: Session, seconds: float) -> None:
        super().__init__(session._session)
        self._seconds = seconds

    def run(self, feeds: Mapping[str, Array], handle: RunHandle | None = None) -> dict[str, Array]:
        time.sleep(self._seconds * len(feeds["input"]))
        return super().run(feeds, handle)
