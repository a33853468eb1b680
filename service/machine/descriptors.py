"""How many files and sockets the process may have open, and how many of them may be connections."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

log = logging.getLogger("contraflow.server")

UNLIMITED = 2**20

MOST_WAITING = 2048
"""Connections that the system holds ready: all of them may be accepted at once."""


def raise_limit() -> None:
    """Raises the soft limit to the hard one: it is kept low for programs that use `select`, which we do not."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS takes no unlimited one
        log.warning("the limit of descriptors stays at %d: %s", soft, error)


def limit() -> int:
    """The soft limit that holds now."""
    if resource is None:
        return UNLIMITED
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED)


def most_connections(wanted: int, descriptors: int) -> int:
    """How many of `wanted` connections fit under a limit of `descriptors`.

    A quarter is left for the service's own: bundles that are read, and connections that were accepted but not yet
    counted.
    """
    return max(1, min(wanted, descriptors - descriptors // 4))


def backlog(connections: int, descriptors: int) -> int:
    """How many connections may wait to be accepted, so that accepting them all at once leaves descriptors over."""
    return max(1, min(MOST_WAITING, (descriptors - connections) // 2))
