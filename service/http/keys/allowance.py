"""The rate of one key."""

from __future__ import annotations

import time

from service.errors import RateLimited


class Allowance:
    """A token bucket: `rate` requests per second in the long run, and those of one second (at least one) at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._since = time.monotonic()

    def use(self, now: float) -> None:
        """Take one request from the bucket.

        Raises:
            RateLimited: the bucket is empty; with the time until it is not.
        """
        self._left = min(self._most, self._left + (now - self._since) * self._rate)
        self._since = now
        if self._left < 1:
            wait = (1 - self._left) / self._rate
            raise RateLimited(f"The key may send {self._rate:g} requests per second.", retry_after=wait)
        self._left -= 1
