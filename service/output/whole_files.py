"""Files that appear whole or not at all, whatever becomes of the disk or the process on the way."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends without an error; else what was there stays.

    Raises:
        OSError: it cannot be written; the message says so, and what is there now.
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
        left = "what was there is unchanged" if os.path.exists(place) else "nothing was written"  # raises nothing
        raise OSError(f"{path} cannot be written: {error.strerror or error}; {left}") from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)


def _mode(place: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file gets."""
    try:
        return place.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
