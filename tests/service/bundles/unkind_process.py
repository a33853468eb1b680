"""Run the service so that the file system's permissions apply to it, even where tests run as root."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

OVERRIDES = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root may read what nobody else may."""
PR_CAPBSET_DROP = 24
SOMEBODY_ELSE = 65534


def obey_permissions() -> None:
    """Give up, in a child process of root, the capabilities that let root read everything."""
    if os.geteuid() == 0:
        for capability in OVERRIDES:
            if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "a capability cannot be given up")


def close_to_others(path: Path) -> None:
    """Make a path unreadable for the service: another account's with mode 0700, or mode 000 unless we are root."""
    if os.geteuid() == 0:
        os.chown(path, SOMEBODY_ELSE, SOMEBODY_ELSE)
        path.chmod(0o700)
    else:
        path.chmod(0)


def open_again(path: Path) -> None:
    path.chmod(0o755)
