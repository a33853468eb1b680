"""Explains why the service cannot start, with the name of the setting to change."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from service.contract.bundle_schema import BUNDLE_FILE
from service.output.system_errors import system_reason
from service.settings import names_of_setting


class StartError(Exception):
    """The reason why the service does not start, in one line for the person who started it."""


def check_bundles_folder(folder: Path) -> None:
    """Check the folder of bundles. An empty one is fine: bundles may be added later. A missing one was not mounted.

    Raises:
        StartError: there is no such folder, it cannot be read, or it is a bundle and not a folder of bundles.
    """
    setting = names_of_setting("bundles")
    place = Path(os.path.abspath(folder))
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        raise StartError(f"{setting}: there is no folder {place}") from None
    except NotADirectoryError:
        raise StartError(f"{setting}: {place} is a file, not a folder of bundles") from None
    except (OSError, ValueError) as error:
        raise StartError(f"{setting}: {place} cannot be read: {reason(error)}") from None
    if BUNDLE_FILE in entries:
        raise StartError(f"{setting}: {place} is itself a bundle; name the folder that it lies in: {place.parent}")


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
