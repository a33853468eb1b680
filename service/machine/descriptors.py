"""Count the descriptors (files and sockets) that the process may open, and those of them for connections."""

from __future__ import annotations

import logging

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

log = logging.getLogger("contraflow.server")

UNLIMITED = 2**20
"""Number that stands for no limit."""

LONGEST_BACKLOG = 2048
"""Most connections that the system may hold ready to be accepted; all of them may be accepted at once."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one. It is low for the sake of programs that use `select`; we do not."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS does not accept "unlimited"
        log.warning("the limit of open files stays at %d: %s", soft, error)


def limit() -> int:
    """Return the present soft limit."""
    if resource is None:
        return UNLIMITED
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED)


def most_connections(wanted: int, descriptors: int) -> int:
    """Return how many of the `wanted` connections fit under a limit of `descriptors`.

    A quarter of the descriptors is left over, for bundles that are read and connections that were accepted but not
    counted yet.
    """
    return max(1, min(wanted, descriptors - descriptors // 4))


def backlog(connections: int, descriptors: int) -> int:
    """Return how many connections may wait to be accepted, so that accepting all at once leaves descriptors over."""
    return max(1, min(LONGEST_BACKLOG, (descriptors - connections) // 2))
