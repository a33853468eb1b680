"""Files that are written whole or not at all, whatever happens to the disk or the process meanwhile."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service.output.system_errors import system_reason


@contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` when the block ends without an error; otherwise `path` stays as it was.

    Raises:
        OSError: the file cannot be written; the message says why, and what is there now.
    """
    place = Path(os.path.realpath(path))
    part: str | None = None
    try:
        handle, part = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(handle)
        os.chmod(part, _mode(place))
        os.replace(part, place)
    except OSError as error:
        left = "what was there is unchanged" if os.path.exists(place) else "nothing was written"
        raise OSError(f"{path} cannot be written: {system_reason(error)}; {left}") from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)


def _mode(place: Path) -> int:
    """Return the permissions of the file that is replaced, or those of a new file."""
    try:
        return place.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
