"""Decodes images in threads, within a limit on the pixels that are decoded at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from service.contract.arrays import Pixels
from service.contract.bundle_schema import InputSpec
from service.engine.request_context import Decoding, RequestContext
from service.errors import QueueFull
from service.images.files import pixel_count
from service.images.preprocess import decode

T = TypeVar("T")


class PixelBudget:
    """Lets at most `limit` pixels be decoded at a time; one image alone is always allowed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._freed = threading.Condition()

    def take(self, pixels: int) -> None:
        with self._freed:
            self._freed.wait_for(lambda: not self._taken or self._taken + pixels <= self._limit)
            self._taken += pixels

    def give_back(self, pixels: int) -> None:
        with self._freed:
            self._taken -= pixels
            self._freed.notify_all()


class DecodePool:
    """Threads that decode images."""

    def __init__(self, threads: int, max_waiting: int, max_pixels: int, max_pixels_at_once: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._max_waiting = max_waiting
        self._max_pixels = max_pixels
        self._budget = PixelBudget(max_pixels_at_once)
        self.waiting = 0

    async def pixels(self, images: Sequence[bytes], spec: InputSpec, request: RequestContext) -> Pixels:
        """Decode `images`, and return them as uint8 [n, h, w, c].

        Raises:
            ImageError, QueueFull, ServiceError: as `each`.
        """
        return np.stack(await self.each(decode, images, spec, request))

    async def each(
        self,
        way: Callable[[bytes, InputSpec, int], T],
        images: Sequence[bytes],
        spec: InputSpec,
        request: RequestContext,
    ) -> list[T]:
        """Decode each of `images` in this way, which is given the most pixels that one may have.

        Raises:
            ImageError: an image cannot be decoded; the error of the first such image.
            QueueFull: too many images are waiting to be decoded.
            ServiceError: the request is given up.
        """
        if self.waiting + len(images) > self._max_waiting:
            raise QueueFull(f"{self.waiting} images are waiting to be decoded.")
        self.waiting += len(images)
        began = time.monotonic()
        request.account("queue", began)
        loop = asyncio.get_running_loop()
        decodings = asyncio.gather(
            *[loop.run_in_executor(self._executor, self._decode, way, data, spec, request) for data in images]
        )
        pending = _Abandonable(decodings)
        request.add(pending)
        try:
            return await decodings
        except asyncio.CancelledError:
            if pending.error is not None:
                raise pending.error from None
            raise
        except Exception:
            pending.abandon(RuntimeError("another image of the request failed"))
            raise
        finally:
            request.remove(pending)
            ended = time.monotonic()
            request.account("decode", ended)
            request.decodings.append(Decoding(len(images), began, ended))
            self.waiting -= len(images)

    def _decode(
        self, way: Callable[[bytes, InputSpec, int], T], data: bytes, spec: InputSpec, request: RequestContext
    ) -> T:
        if request.abandoned_by is not None:
            raise request.abandoned_by
        pixels = pixel_count(data, self._max_pixels)
        self._budget.take(pixels)
        try:
            return way(data, spec, self._max_pixels)
        finally:
            self._budget.give_back(pixels)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Abandonable:
    """Decodings of one request, cancelled when it is given up."""

    def __init__(self, decodings: asyncio.Future[list[T]]) -> None:
        self._decodings = decodings
        self.error: Exception | None = None

    def abandon(self, error: Exception) -> None:
        self.error = error
        self._decodings.cancel()
