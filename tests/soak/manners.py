"""Manners of sending a request: in order, slowly, or by a client that leaves or never finishes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Literal

from bench.harness.client import BROKEN, END_OF_HEAD, Client

Manner = Literal["whole", "pieces", "cancelled", "shut", "half a body", "half a head"]

GIVEN_UP: tuple[Manner, ...] = ("cancelled", "shut")
"""Manners of clients that do not wait for an answer: sent whole, then the connection or its sending side ends."""

PIECES = 4
SECONDS_BETWEEN_PIECES = 0.02
LONGEST_STAY = 0.01
"""Seconds within which a cancelled request's client goes."""
LONGEST_ANSWER = 310.0


async def ask(client: Client, request: bytes, manner: Manner) -> tuple[int, bytes]:
    """Send `request` in its manner; return status and body, or `BROKEN` and what went wrong."""
    try:
        await SENDERS[manner](client, request)
        if manner in GIVEN_UP:
            client.close(reset=True)
            return BROKEN, b""
        head, body = await asyncio.wait_for(client.answer(), LONGEST_ANSWER)
    except (OSError, TimeoutError) as error:
        client.close()
        return BROKEN, repr(error).encode()
    return int(head[9:12]), body


async def _in_pieces(client: Client, request: bytes) -> None:
    size = -(-len(request) // PIECES)
    for start in range(0, len(request), size):
        await client.send(request[start : start + size])
        await asyncio.sleep(SECONDS_BETWEEN_PIECES)


async def _cancelled(client: Client, request: bytes) -> None:
    await client.send(request)
    await asyncio.sleep(random.random() * LONGEST_STAY)


async def _shut(client: Client, request: bytes) -> None:
    await client.send(request)
    client.shut_sending_side()
    await asyncio.wait_for(client.ended(), LONGEST_ANSWER)


async def _half_a_body(client: Client, request: bytes) -> None:
    head, _, body = request.partition(END_OF_HEAD)
    await client.send(head + END_OF_HEAD + body[: len(body) // 2])


async def _half_a_head(client: Client, request: bytes) -> None:
    await client.send(request[: request.index(END_OF_HEAD) // 2])


SENDERS: dict[Manner, Callable[[Client, bytes], Awaitable[None]]] = {
    "whole": Client.send,
    "pieces": _in_pieces,
    "cancelled": _cancelled,
    "shut": _shut,
    "half a body": _half_a_body,
    "half a head": _half_a_head,
}
