"""Explains why the service cannot start, with the name of the setting to change."""

from __future__ import annotations

import errno
from typing import Literal

from service.http.keys.following import KeysFile
from service.http.keys.key import Key, KeysUnusable, read_digest
from service.http.keys.ring import KeyRing
from service.output.printable import printable
from service.output.system_errors import system_reason
from service.settings.fields import Settings
from service.settings.reading import names_of_setting

PortSetting = Literal["http_port", "metrics_port"]


class StartError(Exception):
    """The reason why the service does not start, in one line for the person who started it."""


def opened_keys(settings: Settings) -> tuple[KeyRing, KeysFile | None]:
    """Return the keys of the settings, with those of the file, and the file to follow, if there is one.

    Raises:
        StartError: the file cannot be read, or its keys cannot be used.
    """
    fixed = [Key(read_digest(digest)) for digest in settings.api_keys]
    fixed += [Key(read_digest(digest), only_metrics=True) for digest in settings.metrics_keys]
    path = settings.api_keys_file
    ring = KeyRing(fixed, has_file=path is not None, requests_per_second=settings.requests_per_second)
    if path is None:
        return ring, None
    try:
        return ring, KeysFile(path, ring)
    except KeysUnusable as error:
        raise StartError(f"{names_of_setting('api_keys_file')}: {printable(str(path))}: {error}") from None


def why_not_bound(error: OSError, host: str, port: int, setting: PortSetting = "http_port") -> str:
    """Return in words why the service cannot listen on the address that `host` and `setting` give."""
    if error.errno == errno.EADDRINUSE:
        return f"{names_of_setting(setting)}: port {port} of {host} is in use by another process"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{names_of_setting(setting)}: this user may not listen on port {port}; take one from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{names_of_setting('host')}: {host} is no address of this machine"
    return f"{names_of_setting('host')}, {names_of_setting(setting)}: {host} port {port}: {reason(error)}"


def reason(error: Exception) -> str:
    """Return the system's words for an error."""
    return system_reason(error) if isinstance(error, OSError) else str(error)
