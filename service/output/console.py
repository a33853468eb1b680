"""How a command ends: its exit status, and one line that says what went wrong.

0, 1   the command's own result
2      it could not be done, or its output could not be written
130    Ctrl-C
141    nobody reads the output any more (`| head`); shells report this for a process ended by a closed pipe
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from service.output.extras import how_to_install
from service.output.system_errors import system_reason

FAILED, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def ended_in_words(command: Callable[[], int]) -> int:
    """Run a command and make sure that its output is written; return the exit status."""
    try:
        if sys.stdout is None:  # the output would be lost without a word
            complain("the answer cannot be written: standard output is closed")
            return FAILED
        status = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (advice := how_to_install(error.name)) is None:
            raise
        complain(advice)
        return FAILED
    except BrokenPipeError:
        _give_up_output()
        return PIPE_CLOSED
    except OSError as error:
        _give_up_output()
        complain(f"the answer cannot be written: {system_reason(error)}")
        return FAILED
    return status


def complain(text: str) -> None:
    """Write one line to standard error, if that can be written to."""
    with contextlib.suppress(OSError, ValueError):
        print("error:", " ".join(text.split()), file=sys.stderr, flush=True)


def _give_up_output() -> None:
    """Keep the interpreter from flushing again when it ends, which would fail and change the exit status."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
