"""Fields that the answers of all diagnostics have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})]
"""A number; one that is not finite is written as the string "NaN", "Infinity" or "-Infinity"."""


class DiagnosticSchema(BaseModel):
    """An answer of `/diagnostics/…` or a part of one. Immutable."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class AnsweredBy(DiagnosticSchema):
    """The five fields that begin every answer of one model."""

    model: str
    version: str
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    execution_provider: str
    request_id: str
