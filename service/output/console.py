"""How a command ends where people and scripts look: its exit status, and one line for what went wrong.

    0, 1   what the command says itself
    2      it could not be done, or its answer could not be written
    130    Ctrl-C
    141    nobody reads the answer any more (`| head`), as a shell reports a process that a closed pipe ended

Imports nothing of ours: the commands of `export` end so too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

FAILED, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def ended_in_words(command: Callable[[], int]) -> int:
    """Runs a command and sees that what it printed is written; the exit status."""
    try:
        if sys.stdout is None:  # what would be printed would be lost without a word
            complain("the answer cannot be written: standard output is closed")
            return FAILED
        status = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return PIPE_CLOSED
    except OSError as error:
        _give_up_output()
        complain(f"the answer cannot be written: {error.strerror or error}")
        return FAILED
    return status


def complain(text: str) -> None:
    """One line on standard error, if that can be written."""
    with contextlib.suppress(OSError, ValueError):
        print("error:", " ".join(text.split()), file=sys.stderr, flush=True)


def _give_up_output() -> None:
    """Keeps the interpreter from trying once more at its end, which would change the exit status."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
