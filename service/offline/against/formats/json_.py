"""Writes what was found of two versions as JSON."""

from __future__ import annotations

from service.offline.against.outcome import Against


def in_json(found: Against) -> str:
    """Return every field; numbers that are not finite are strings, as in the service."""
    return found.model_dump_json(indent=2) + "\n"
