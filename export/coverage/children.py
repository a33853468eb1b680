"""A function run in a process of its own, which is ended when its time is over and gives its memory back."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from typing import Any

PRELOADED = ["export.coverage.preloaded"]
"""Imported once, in the process that all children are copies of."""


class OutOfTime(Exception):
    """The child did not answer within its time."""


class Died(Exception):
    """The child ended without an answer: killed by the system, or crashed."""


class Raised(Exception):
    """The child raised; `summary` is the exception's class and first line, `trace` the whole of it."""

    def __init__(self, summary: str, trace: str) -> None:
        super().__init__(summary)
        self.summary, self.trace = summary, trace


def in_child(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """Return what the function returns; it and its arguments must be picklable.

    Raises:
        OutOfTime, Died, Raised: see there.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sending, function, arguments), daemon=False)
    child.start()
    sending.close()
    try:
        if not receiving.poll(seconds):
            raise OutOfTime(f"no answer within {seconds:.0f} s")
        try:
            succeeded, answer = receiving.recv()
        except EOFError:
            child.join()
            raise Died(f"the process ended with code {child.exitcode}") from None
    finally:
        child.kill()
        child.join()
        receiving.close()
    if not succeeded:
        raise Raised(*answer)
    return answer


def _answer(sending: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # torch's exporters print whole graphs
    os.dup2(nowhere, 2)
    try:
        answer = True, function(*arguments)
    except Exception as error:  # whatever a stranger's package raises belongs in the table
        first = str(error).splitlines()[0] if str(error).strip() else ""
        answer = False, (f"{type(error).__name__}: {first}", traceback.format_exc())
    sending.send(answer)
