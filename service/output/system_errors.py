"""Errors of the operating system, in words."""

from __future__ import annotations

import os


def system_reason(error: OSError) -> str:
    """Return the system's own words for `error`, without the path, e.g. "No space left on device".

    An error that was raised with nothing but a message has no such words; its message is returned.
    """
    return error.strerror or str(error) or type(error).__name__


def error_in_words(error: Exception) -> str:
    """Return the message of an error; of one of the system without its number, "w/net.onnx: Permission denied"."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
