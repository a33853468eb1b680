"""The end of a command: its exit status, and one line that says what went wrong.

0, 1   the command's own result
2      it could not be done, or its output could not be written
130    Ctrl-C
141    nobody reads the output any more (`| head`); shells report this for a process ended by a closed pipe
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.output.extras import how_to_install
from service.output.system_errors import system_reason

FAILED, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


class AnswerLost(Exception):
    """Lines of the answer could not be written; the cause is the system's error."""


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
    except AnswerLost as lost:
        return _without_output(lost.__cause__)
    except OSError as error:
        return _without_output(error)
    return status


@contextmanager
def told_meanwhile() -> Iterator[Callable[[str], None]]:
    """Give a function that prints a line of the answer at once, for work in several steps.

    The steps go on where nobody reads or the disk is full, so that no work is left half done.

    Raises:
        AnswerLost: when the block has ended well, and a line could not be written.
    """
    failure: OSError | None = None

    def tell(line: str) -> None:
        nonlocal failure
        if failure is None:
            try:
                print(line, flush=True)
            except OSError as error:
                failure = error

    yield tell
    if failure is not None:
        raise AnswerLost from failure


def remark(text: str, end: str = "\n") -> None:
    """Write a sign of progress to standard error, if that can be written to: it is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(text, end=end, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Write one line to standard error, if that can be written to."""
    with contextlib.suppress(OSError, ValueError):
        print("error:", " ".join(text.split()), file=sys.stderr, flush=True)


def _without_output(error: BaseException | None) -> int:
    """Return the exit status where the answer cannot be written, and say why where somebody still listens."""
    _give_up_output()
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    complain(f"the answer cannot be written: {system_reason(error) if isinstance(error, OSError) else error}")
    return FAILED


def _give_up_output() -> None:
    """Keep the interpreter from flushing again when it ends, which would fail and change the exit status."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
