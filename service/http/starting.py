"""Explains why the service cannot start, with the name of the setting to change."""

from __future__ import annotations

import errno

from service.output.system_errors import system_reason
from service.settings.reading import names_of_setting


class StartError(Exception):
    """The reason why the service does not start, in one line for the person who started it."""


def why_not_bound(error: OSError, host: str, port: int) -> str:
    """Return in words why the service cannot listen on an address."""
    if error.errno == errno.EADDRINUSE:
        return f"{names_of_setting('http_port')}: port {port} of {host} is in use by another process"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{names_of_setting('http_port')}: this user may not listen on port {port}; take one from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{names_of_setting('host')}: {host} is no address of this machine"
    return f"{names_of_setting('host')}, {names_of_setting('http_port')}: {host} port {port}: {reason(error)}"


def reason(error: Exception) -> str:
    """Return the system's words for an error."""
    return system_reason(error) if isinstance(error, OSError) else str(error)
