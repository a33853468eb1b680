"""Errors of the operating system, in words."""

from __future__ import annotations


def system_reason(error: OSError) -> str:
    """Return the system's own words for `error`, without the path, e.g. "No space left on device".

    An error that was raised with nothing but a message has no such words; its message is returned.
    """
    return error.strerror or str(error) or type(error).__name__
