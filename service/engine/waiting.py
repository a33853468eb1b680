"""Waits for work that goes on even if its request is given up."""

from __future__ import annotations

import asyncio

from service.engine.request_context import RequestContext


class Waiting:
    """Waits for a future that others may need too; the wait is given up with the request, the work is not."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = asyncio.shield(future)
        self._error: Exception | None = None

    def abandon(self, error: Exception) -> None:
        self._error = error
        self._future.cancel()

    async def until_done(self, request: RequestContext) -> None:
        """Return when the work has ended.

        Raises:
            Exception: the work's own, or the reason why the request was given up.
        """
        request.add(self)
        try:
            await self._future
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            request.remove(self)
