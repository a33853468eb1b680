"""Reads the reference statistics of a bundle that is being served."""

from __future__ import annotations

from service.bundles.disk import BundleRefused, BundleUnreadable, StoredBundle
from service.contract.reference import REFERENCE_FILE, ReferenceStatistics, parse_reference
from service.errors import NotReady


def read_reference(stored: StoredBundle) -> ReferenceStatistics | None:
    """Return the bundle's reference statistics; None if it has none.

    Raises:
        NotReady: the file cannot be read at the moment, or was changed since the bundle was read.
    """
    try:
        content = stored.read(REFERENCE_FILE)
    except BundleUnreadable as reason:
        raise NotReady(f"The bundle of {stored.bundle.name}: {reason}.") from None
    except BundleRefused:
        raise NotReady(f"The bundle of {stored.bundle.name} is being replaced.") from None
    return None if content is None else parse_reference(content)
