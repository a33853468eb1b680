"""Writes what was found as JSON: a verdict has the fields that the service answers."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema
from service.offline.outcome import Judged, Outcome, Unusable


class Check(DiagnosticSchema):
    """The whole answer of `check --format json`."""

    exit_status: int = Field(description="0 healthy, 1 a finding or no full verdict, 2 unusable: the worst of all")
    models: list[Judged] = Field(description="those that were judged, in the order in which they were named")
    unusable: list[Unusable] = Field(description="paths at which nothing could be judged")


def in_json(outcomes: Sequence[Outcome]) -> str:
    """Return all outcomes as one JSON document; numbers that are not finite are strings, as in the service."""
    check = Check(
        exit_status=max(outcome.exit_status for outcome in outcomes),
        models=[outcome for outcome in outcomes if isinstance(outcome, Judged)],
        unusable=[outcome for outcome in outcomes if isinstance(outcome, Unusable)],
    )
    return check.model_dump_json(indent=2) + "\n"
